package main

import (
	"context"
	"fmt"
	"time"

	mq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

var retryCases = []testCase{
	{"retry_then_dlq", retryThenDeadLetter},
	{"retry_times_rise", retryTimesRise},
	{"delay_levels", delayLevels},
}

// introduceGroup makes the group's retry topic, which a first heartbeat creates: this client takes up a retry topic
// that it finds at its start, another one only up to 50 s later.
func introduceGroup(s *scope, p mq.Producer) {
	_, err := p.SendSync(background, primitive.NewMessage(s.topic, []byte("makes the topic")).WithTag("none"))
	must(err, "send")
	first := s.push("some", func(context.Context, *primitive.MessageExt) consumeResult { return consumer.ConsumeRetryLater })
	time.Sleep(time.Second)
	must(first.Shutdown(), "shutdown")
}

func times(receipts []receipt) string {
	var all []int32
	for _, r := range receipts {
		all = append(all, r.message.ReconsumeTimes)
	}
	return fmt.Sprint(all)
}

func retryThenDeadLetter(s *scope) {
	p := s.producer(producer.WithQueueSelector(queueZero{}))
	introduceGroup(s, p)
	poison := s.ledger.message(s.topic, "T")
	poison.WithProperty("colour", "red")
	s.send(p, poison)
	s.sendSync(p, 9)
	s.push("T", func(ctx context.Context, message *primitive.MessageExt) consumeResult {
		s.ledger.seen("failing", message)
		if context, ok := primitive.GetConcurrentlyCtx(ctx); ok {
			context.DelayLevelWhenNextConsume = 1
		}
		if string(message.Body) == string(poison.Body) {
			return consumer.ConsumeRetryLater
		}
		return consumeSuccess
	}, consumer.WithMaxReconsumeTimes(1))
	s.ledger.awaitAll(40 * time.Second)
	within(30*time.Second, say("a second delivery"), func() bool { return len(s.ledger.receipts(string(poison.Body))) == 2 })
	equal("[0 1]", times(s.ledger.receipts(string(poison.Body))), "reconsume times")
	s.ledger.checkContents()
	equal(11, len(s.ledger.all()), "deliveries in all: the other nine once")

	dlq := "%DLQ%" + s.group
	time.Sleep(2 * time.Second)
	reader := s.pull(dlq, "*")
	broker := s.ledger.answer(poison).MessageQueue.BrokerName
	result, err := reader.PullFrom(background, &primitive.MessageQueue{Topic: dlq, BrokerName: broker, QueueId: 0}, 0, 10)
	must(err, "pull of the dead-letter queue")
	equal(primitive.PullFound, result.Status, "status of the dead-letter queue")
	equal(1, len(result.GetMessageExts()), "messages in the dead-letter queue")
	dead := result.GetMessageExts()[0]
	equal(string(poison.Body), string(dead.Body), "body in the dead-letter queue")
	equal(s.ledger.answer(poison).MsgID, dead.MsgId, "msgId in the dead-letter queue")
	equal(poison.GetKeys(), dead.GetKeys(), "keys in the dead-letter queue")
	equal("red", dead.GetProperty("colour"), "user property in the dead-letter queue")
	equal(s.topic, dead.GetProperty(primitive.PropertyRetryTopic), "original topic")
	equal(s.ledger.answer(poison).OffsetMsgID, dead.GetProperty("ORIGIN_MESSAGE_ID"), "original offset message id")
	equal(int32(2), dead.ReconsumeTimes, "reconsume times in the dead-letter queue")
}

func retryTimesRise(s *scope) {
	p := s.producer(producer.WithQueueSelector(queueZero{}))
	introduceGroup(s, p)
	message := s.ledger.message(s.topic, "T")
	s.send(p, message)
	s.push("T", func(ctx context.Context, got *primitive.MessageExt) consumeResult {
		s.ledger.seen("failing", got)
		if context, ok := primitive.GetConcurrentlyCtx(ctx); ok {
			context.DelayLevelWhenNextConsume = 1
		}
		if got.ReconsumeTimes < 3 {
			return consumer.ConsumeRetryLater
		}
		return consumeSuccess
	})
	within(60*time.Second, say("four deliveries"), func() bool { return len(s.ledger.all()) == 4 })
	time.Sleep(1500 * time.Millisecond)
	equal("[0 1 2 3]", times(s.ledger.all()), "reconsume times")
	s.ledger.checkContents()
	for i := 1; i < 4; i++ {
		took := s.ledger.all()[i].at.Sub(s.ledger.all()[i-1].at)
		that(took > 950*time.Millisecond, "delivery %d not before 1 s, was %v", i, took)
		equal(s.ledger.answer(message).MsgID, s.ledger.all()[i].message.MsgId, "msgId of a retry")
	}
}

func delayLevels(s *scope) {
	p := s.producer()
	s.sendSync(p, 2)
	s.push("*", s.recording("delayed"))
	s.ledger.awaitAll(60 * time.Second)
	due := []time.Duration{0, time.Second, 5 * time.Second}
	var messages []*primitive.Message
	var sentAt []time.Time
	for level := range due {
		message := s.ledger.message(s.topic, "T")
		if level > 0 {
			message.WithDelayTimeLevel(level)
		}
		sentAt = append(sentAt, time.Now())
		_, err := p.SendSync(background, message)
		must(err, "send")
		messages = append(messages, message)
	}
	s.ledger.awaitAll(40 * time.Second)
	for level, message := range messages {
		receipts := s.ledger.receipts(string(message.Body))
		equal(1, len(receipts), "deliveries")
		took := receipts[0].at.Sub(sentAt[level])
		that(took >= due[level]-100*time.Millisecond && took < due[level]+4*time.Second, "level %d after %v, was %v", level, due[level], took)
	}
}
