package main

import (
	"fmt"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

var pullCases = []testCase{
	{"pull_no_new_message", pullNoNewMessage},
	{"pull_statuses", pullStatuses},
	{"pull_held_until_message", pullHeldUntilMessage},
	{"pull_offsets", pullOffsets},
}

func (s *scope) onlyQueue(result *primitive.SendResult) *primitive.MessageQueue {
	return &primitive.MessageQueue{Topic: s.topic, BrokerName: result.MessageQueue.BrokerName, QueueId: result.MessageQueue.QueueId}
}

func checkPull(result *primitive.PullResult, status primitive.PullStatus, next, max int64, found int, what string) {
	equal(status, result.Status, "status of "+what)
	equal(next, result.NextBeginOffset, "next offset of "+what)
	equal(int64(0), result.MinOffset, "min offset of "+what)
	equal(max, result.MaxOffset, "max offset of "+what)
	equal(found, len(result.GetMessageExts()), "messages of "+what)
}

func pullStatuses(s *scope) {
	p := s.producer(producer.WithQueueSelector(queueZero{}))
	tags := []string{"A", "B", ""}
	var queue *primitive.MessageQueue
	for i := 0; i < 30; i++ {
		queue = s.onlyQueue(s.send(p, s.ledger.message(s.topic, tags[i%3])))
	}
	time.Sleep(time.Second) // the reference shows messages a moment after its answer
	reader := s.pull(s.topic, "*")
	pull := func(offset int64, count int) *primitive.PullResult {
		result, err := reader.PullFrom(background, queue, offset, count)
		must(err, fmt.Sprint("pull at ", offset))
		return result
	}
	checkPull(pull(0, 10), primitive.PullFound, 10, 30, 10, "a pull at 0")
	checkPull(pull(25, 10), primitive.PullFound, 30, 30, 5, "a pull at 25")
	checkPull(pull(31, 10), primitive.PullOffsetIllegal, 30, 30, 0, "a pull past the end")
	checkPull(pull(1_000_000, 10), primitive.PullOffsetIllegal, 30, 30, 0, "a pull far past the end")
	for i, message := range pull(0, 30).GetMessageExts() {
		equal(body(s.name, i), string(message.Body), "body")
		s.ledger.seen("reader", message)
	}
	s.ledger.checkExactlyOnce()

	other := *s // a second reader with a filter, of a group of its own
	other.group = s.group + "_filter"
	filtered := other.pull(s.topic, "B")
	defer func() { _ = filtered.Shutdown() }()
	result, err := filtered.PullFrom(background, queue, 0, 32)
	must(err, "filtered pull")
	checkPull(result, primitive.PullFound, 30, 30, 10, "a pull of tag B")
	result, err = filtered.PullFrom(background, queue, 29, 32)
	must(err, "filtered pull")
	checkPull(result, primitive.PullNoMsgMatched, 30, 30, 0, "a pull of tag B where there is none")
}

// pullNoNewMessage: this client always lets the broker hold a pull, for 20 s.
func pullNoNewMessage(s *scope) {
	p := s.producer(producer.WithQueueSelector(queueZero{}))
	s.sendSync(p, 2)
	queue := s.onlyQueue(s.send(p, s.ledger.message(s.topic, "T")))
	reader := s.pull(s.topic, "*")
	start := time.Now()
	result, err := reader.PullFrom(background, queue, 3, 10)
	must(err, "pull at the end")
	took := time.Since(start)
	checkPull(result, primitive.PullNoNewMsg, 3, 3, 0, "a pull at the end")
	that(took > 19*time.Second && took < 27*time.Second, "held for 20 s, was %v", took)
}

func pullHeldUntilMessage(s *scope) {
	p := s.producer(producer.WithQueueSelector(queueZero{}))
	queue := s.onlyQueue(s.send(p, s.ledger.message(s.topic, "T")))
	reader := s.pull(s.topic, "*")
	answer := make(chan *primitive.PullResult, 1)
	go func() {
		result, err := reader.PullFrom(background, queue, 1, 10)
		if err != nil {
			result = nil
		}
		answer <- result
	}()
	select {
	case <-answer:
		panic("the pull waits while there is nothing")
	case <-time.After(1500 * time.Millisecond):
	}
	sent := time.Now()
	s.sendSync(p, 1)
	result := <-answer
	that(result != nil, "the held pull was answered with an error")
	that(time.Since(sent) < 2*time.Second, "woken by the message, took %v", time.Since(sent))
	checkPull(result, primitive.PullFound, 2, 2, 1, "the woken pull")
	equal(body(s.name, 1), string(result.GetMessageExts()[0].Body), "body")
}

func pullOffsets(s *scope) {
	p := s.producer(producer.WithQueueSelector(queueZero{}))
	s.sendSync(p, 19)
	queue := s.onlyQueue(s.send(p, s.ledger.message(s.topic, "T")))
	reader := s.pull(s.topic, "*")
	_, err := reader.PullFrom(background, queue, 0, 10)
	must(err, "pull")
	time.Sleep(time.Second) // it persists the offsets of the queues that a rebalance gave it
	must(reader.UpdateOffset(queue, 17), "update of the offset")
	must(reader.PersistOffset(background, s.topic), "persist")
	time.Sleep(500 * time.Millisecond) // this client commits one-way
	must(reader.Shutdown(), "shutdown")
	again := s.pull(s.topic, "*")
	// Pull starts at the committed offset.
	result, err := again.Pull(background, 10)
	must(err, "pull from the committed offset")
	checkPull(result, primitive.PullFound, 20, 20, 3, "the first pull of the second life")
}
