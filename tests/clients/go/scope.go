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

var background = context.Background()

// scope is one case: its own topic and group, and its clients, which end with it.
type scope struct {
	namesrv   primitive.NamesrvAddr
	name      string
	topic     string
	group     string
	ledger    *ledger
	instances int
	closers   []func()
}

func newScope(namesrv, run, name string) *scope {
	return &scope{namesrv: primitive.NamesrvAddr{namesrv}, name: name, topic: "go_" + name + "_" + run, group: "gogroup_" + name + "_" + run,
		ledger: newLedger(name)}
}

func (s *scope) instance() string {
	s.instances++
	return fmt.Sprintf("%s_%d", s.group, s.instances)
}

func (s *scope) close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
}

// queueZero sends everything to the first queue.
type queueZero struct{}

func (queueZero) Select(_ *primitive.Message, queues []*primitive.MessageQueue, _ string) *primitive.MessageQueue {
	first := queues[0]
	for _, each := range queues {
		if each.QueueId < first.QueueId {
			first = each
		}
	}
	return first
}

// producer gives a started one. Topics that it creates by sending have 4 queues, whatever WithDefaultTopicQueueNums
// says: this client writes a constant into its request.
func (s *scope) producer(options ...producer.Option) mq.Producer {
	p, err := mq.NewProducer(append([]producer.Option{producer.WithNameServer(s.namesrv), producer.WithGroupName("p_" + s.group),
		producer.WithInstanceName(s.instance()), producer.WithRetry(2)}, options...)...)
	must(err, "new producer")
	must(p.Start(), "start of the producer")
	s.closers = append(s.closers, func() { _ = p.Shutdown() })
	return p
}

func (s *scope) send(p mq.Producer, message *primitive.Message) *primitive.SendResult {
	result, err := p.SendSync(background, message)
	must(err, "send of "+string(message.Body))
	s.ledger.sent(message, result)
	return result
}

func (s *scope) sendSync(p mq.Producer, count int) {
	for i := 0; i < count; i++ {
		s.send(p, s.ledger.message(s.topic, "T"))
	}
}

type listener func(ctx context.Context, message *primitive.MessageExt) consumer.ConsumeResult

// push gives a started push consumer of the case's group, from the first offset unless an option says else.
func (s *scope) push(tags string, listen listener, options ...consumer.Option) mq.PushConsumer {
	c, err := mq.NewPushConsumer(append([]consumer.Option{consumer.WithNameServer(s.namesrv), consumer.WithGroupName(s.group),
		consumer.WithInstance(s.instance()), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
		consumer.WithConsumeMessageBatchMaxSize(1)}, options...)...)
	must(err, "new push consumer")
	err = c.Subscribe(s.topic, consumer.MessageSelector{Type: consumer.TAG, Expression: tags},
		func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
			result := consumer.ConsumeSuccess
			for _, message := range messages {
				if r := listen(ctx, message); r != consumer.ConsumeSuccess {
					result = r
				}
			}
			return result, nil
		})
	must(err, "subscribe")
	must(c.Start(), "start of the push consumer")
	s.closers = append(s.closers, func() { _ = c.Shutdown() })
	return c
}

func (s *scope) recording(who string) listener {
	return func(_ context.Context, message *primitive.MessageExt) consumer.ConsumeResult {
		s.ledger.seen(who, message)
		return consumer.ConsumeSuccess
	}
}

// readBackExactlyOnce consumes the topic with a fresh group and checks every message.
func (s *scope) readBackExactlyOnce() {
	s.push("*", s.recording("reader"))
	s.ledger.awaitAll(40 * time.Second)
	time.Sleep(300 * time.Millisecond) // time for unwanted repeats
	s.ledger.checkExactlyOnce()
}

// pull gives a started pull consumer; tags filter what it pulls.
func (s *scope) pull(topic, tags string) mq.PullConsumer {
	c, err := mq.NewPullConsumer(consumer.WithNameServer(s.namesrv), consumer.WithGroupName("pull_"+s.group), consumer.WithInstance(s.instance()))
	must(err, "new pull consumer")
	must(c.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: tags}), "subscribe")
	must(c.Start(), "start of the pull consumer")
	s.closers = append(s.closers, func() { _ = c.Shutdown() })
	return c
}
