package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	mq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

type consumeResult = consumer.ConsumeResult

const consumeSuccess = consumer.ConsumeSuccess

var pushCases = []testCase{
	{"push_take_over", pushTakeOver},
	{"push_broadcasting", pushBroadcasting},
	{"push_tag_filter", pushTagFilter},
	{"push_wakes_held_pull", pushWakesHeldPull},
	{"push_offsets_survive_restart", pushOffsetsSurviveRestart},
	{"push_orderly", pushOrderly},
	{"push_orderly_suspend", pushOrderlySuspend},
	{"start_last_young_topic", startLastYoungTopic},
	{"start_last_broadcasting", startLastBroadcasting},
	{"start_timestamp_broadcasting", startTimestampBroadcasting},
}

func body(prefix string, n int) string {
	return fmt.Sprintf("%s#%d", prefix, n)
}

// awaitShared sends until a whole round of messages has gone half to each; this client does not tell its queues.
func awaitShared(s *scope, p mq.Producer, queues int, who ...string) {
	within(60*time.Second, say("queues shared"), func() bool {
		before := len(s.ledger.all())
		s.sendSync(p, queues*2)
		s.ledger.awaitAll(40 * time.Second)
		count := map[string]int{}
		for _, r := range s.ledger.all()[before:] {
			count[r.who]++
		}
		for _, each := range who {
			if count[each] != queues*2/len(who) {
				return false
			}
		}
		return true
	})
}

func pushTakeOver(s *scope) {
	p := s.producer(producer.WithQueueSelector(producer.NewRoundRobinQueueSelector()))
	s.sendSync(p, 4)
	s.push("*", s.recording("first"))
	second := s.push("*", s.recording("second"))
	awaitShared(s, p, 4, "first", "second")
	calm := s.ledger.duplicates()
	s.sendSync(p, 200)
	s.ledger.awaitAll(20 * time.Second)
	equal(calm, s.ledger.duplicates(), "deliveries twice while nothing moved")

	var stop atomic.Bool
	stopped := make(chan any, 1)
	go func() {
		defer func() { stopped <- recover() }()
		for !stop.Load() && s.ledger.expectedCount() < 20_000 {
			s.sendSync(p, 1)
			time.Sleep(2 * time.Millisecond)
		}
	}()
	time.Sleep(300 * time.Millisecond)
	must(second.Shutdown(), "shutdown")
	time.Sleep(time.Second)
	stop.Store(true)
	equal(nil, <-stopped, "failure of the sender")
	s.sendSync(p, 100)
	s.ledger.awaitAll(40 * time.Second)
	s.ledger.checkContents()
	that(s.ledger.duplicates()-calm <= s.ledger.expectedCount()/4, "few messages twice at the hand-over, was %d of %d", s.ledger.duplicates(), s.ledger.expectedCount())
}

func pushBroadcasting(s *scope) {
	p := s.producer()
	s.sendSync(p, 20)
	for _, who := range []string{"first", "second"} {
		s.push("*", s.recording(who), consumer.WithConsumerModel(consumer.BroadCasting))
	}
	s.sendSync(p, 80)
	within(40*time.Second, say("both received all"), func() bool { return s.ledger.missing("first") == 0 && s.ledger.missing("second") == 0 })
	time.Sleep(300 * time.Millisecond)
	s.ledger.checkContents()
	equal(200, len(s.ledger.all()), "deliveries")
}

func pushTagFilter(s *scope) {
	p := s.producer()
	others := newLedger("unwanted")
	tags := []string{"A", "Aa", "C", "BB", "B", ""} // "Aa" and "BB" have the same hash
	for i := 0; i < 120; i++ {
		tag := tags[i%len(tags)]
		if tag == "A" || tag == "BB" {
			s.send(p, s.ledger.message(s.topic, tag))
		} else {
			_, err := p.SendSync(background, others.message(s.topic, tag))
			must(err, "send")
		}
	}
	s.push("A || BB", s.recording("filtered"))
	s.ledger.awaitAll(40 * time.Second)
	time.Sleep(500 * time.Millisecond)
	s.ledger.checkExactlyOnce()
}

func pushWakesHeldPull(s *scope) {
	p := s.producer()
	s.sendSync(p, 2)
	s.push("*", s.recording("waiting"))
	s.ledger.awaitAll(40 * time.Second)
	worst := time.Duration(0)
	for i := 0; i < 6; i++ {
		time.Sleep(700 * time.Millisecond)
		sent := time.Now()
		s.sendSync(p, 1)
		s.ledger.awaitAll(40 * time.Second)
		if took := time.Since(sent); took > worst {
			worst = took
		}
	}
	s.ledger.checkExactlyOnce()
	that(worst < 2*time.Second, "delivered at once, took %v", worst)
}

func pushOffsetsSurviveRestart(s *scope) {
	p := s.producer()
	s.sendSync(p, 100)
	before := s.push("*", s.recording("before"))
	s.ledger.awaitAll(40 * time.Second)
	time.Sleep(500 * time.Millisecond)
	must(before.Shutdown(), "shutdown")
	s.sendSync(p, 50)
	s.push("*", s.recording("after"))
	s.ledger.awaitAll(40 * time.Second)
	time.Sleep(time.Second)
	s.ledger.checkExactlyOnce()
	equal(50, s.ledger.distinctSeenBy("after"), "messages of the second life")
}

func pushOrderly(s *scope) {
	p := s.producer(producer.WithQueueSelector(producer.NewHashQueueSelector()))
	for step := 0; step < 10; step++ {
		for order := 0; order < 20; order++ {
			s.send(p, s.ledger.message(s.topic, "T").WithShardingKey(fmt.Sprint("order-", order)))
		}
	}
	var mutex sync.Mutex
	inside := map[int]int{}
	violation := ""
	s.push("*", func(_ context.Context, message *primitive.MessageExt) consumeResult {
		queue := message.Queue.QueueId
		mutex.Lock()
		inside[queue]++
		if inside[queue] != 1 {
			violation = fmt.Sprint("two listeners inside queue ", queue)
		}
		mutex.Unlock()
		time.Sleep(time.Millisecond)
		s.ledger.seen("orderly", message)
		mutex.Lock()
		inside[queue]--
		mutex.Unlock()
		return consumeSuccess
	}, consumer.WithConsumerOrder(true))
	s.ledger.awaitAll(60 * time.Second)
	equal("", violation, "interleaving")
	checkOrder(s)
	s.ledger.checkExactlyOnce()
}

// checkOrder: each queue's messages came in offset order without a gap.
func checkOrder(s *scope) {
	next := map[int]int64{}
	for _, r := range s.ledger.all() {
		queue := r.message.Queue.QueueId
		equal(next[queue], r.message.QueueOffset, fmt.Sprint("offset due in queue ", queue))
		next[queue]++
	}
}

func pushOrderlySuspend(s *scope) {
	p := s.producer(producer.WithQueueSelector(queueZero{}))
	s.sendSync(p, 20)
	stubborn := body(s.name, 5)
	attempts := 0
	s.push("*", func(_ context.Context, message *primitive.MessageExt) consumeResult {
		if string(message.Body) == stubborn {
			if attempts++; attempts < 4 {
				return consumer.SuspendCurrentQueueAMoment
			}
		}
		s.ledger.seen("orderly", message)
		return consumeSuccess
	}, consumer.WithConsumerOrder(true), consumer.WithSuspendCurrentQueueTimeMillis(200*time.Millisecond), consumer.WithMaxReconsumeTimes(10))
	s.ledger.awaitAll(60 * time.Second)
	equal(4, attempts, "attempts")
	checkOrder(s)
	s.ledger.checkExactlyOnce()
}

// startLastYoungTopic: while a queue's first message is young the broker lets new groups begin at 0 whatever they ask.
func startLastYoungTopic(s *scope) {
	p := s.producer()
	s.sendSync(p, 60)
	s.push("*", s.recording("starting"), consumer.WithConsumeFromWhere(consumer.ConsumeFromLastOffset))
	s.ledger.awaitAll(40 * time.Second)
	s.ledger.checkExactlyOnce()
}

func startLastBroadcasting(s *scope) {
	p := s.producer(producer.WithQueueSelector(queueZero{}))
	unwanted := newLedger("unwanted")
	for i := 0; i < 20; i++ {
		_, err := p.SendSync(background, unwanted.message(s.topic, "T"))
		must(err, "send")
	}
	s.push("*", s.recording("starting"), consumer.WithConsumerModel(consumer.BroadCasting), consumer.WithConsumeFromWhere(consumer.ConsumeFromLastOffset))
	time.Sleep(5 * time.Second) // this client does not tell when it has its queues
	s.sendSync(p, 30)
	s.ledger.awaitAll(40 * time.Second)
	s.ledger.checkExactlyOnce() // an earlier message is unknown to this ledger and fails it
}

func startTimestampBroadcasting(s *scope) {
	p := s.producer(producer.WithQueueSelector(queueZero{}))
	unwanted := newLedger("unwanted")
	for i := 0; i < 20; i++ {
		_, err := p.SendSync(background, unwanted.message(s.topic, "T"))
		must(err, "send")
	}
	time.Sleep(2100 * time.Millisecond) // the setting counts whole seconds
	between := time.Now().UTC().Format("20060102150405")
	s.sendSync(p, 30)
	s.push("*", s.recording("starting"), consumer.WithConsumerModel(consumer.BroadCasting),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromTimestamp), consumer.WithConsumeTimestamp(between))
	s.ledger.awaitAll(40 * time.Second)
	s.ledger.checkExactlyOnce()
}
