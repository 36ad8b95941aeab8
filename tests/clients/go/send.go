package main

import (
	"bytes"
	"context"
	"math/rand"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

var sendCases = []testCase{
	{"send_sync_auto_created_topic", sendSync},
	{"send_async", sendAsync},
	{"send_oneway", sendOneway},
	{"send_batch", sendBatch},
	{"send_selectors", sendSelectors},
	{"send_compressed", sendCompressed},
	{"send_properties", sendProperties},
	{"send_refused", sendRefused},
}

func sendSync(s *scope) {
	p := s.producer()
	queues := map[int]bool{}
	ids := map[string]bool{}
	for i := 0; i < 40; i++ {
		result := s.send(p, s.ledger.message(s.topic, "T"))
		queues[result.MessageQueue.QueueId] = true
		ids[result.MsgID] = true
	}
	equal(4, len(queues), "queues used")
	equal(40, len(ids), "message ids")
	s.readBackExactlyOnce()
}

func sendAsync(s *scope) {
	p := s.producer()
	s.sendSync(p, 1) // the topic is there
	var answered sync.WaitGroup
	var mutex sync.Mutex
	var failures []string
	for i := 0; i < 200; i++ {
		message := s.ledger.message(s.topic, "T")
		answered.Add(1)
		err := p.SendAsync(background, func(_ context.Context, result *primitive.SendResult, err error) {
			defer answered.Done()
			if err != nil {
				mutex.Lock()
				failures = append(failures, err.Error())
				mutex.Unlock()
				return
			}
			s.ledger.sent(message, result)
		}, message)
		must(err, "asynchronous send")
	}
	done := make(chan struct{})
	go func() { answered.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		panic("callbacks missing")
	}
	equal(0, len(failures), "failures "+strings.Join(failures, "; "))
	s.readBackExactlyOnce()
}

func sendOneway(s *scope) {
	p := s.producer()
	s.sendSync(p, 1)
	for i := 0; i < 100; i++ {
		must(p.SendOneWay(background, s.ledger.message(s.topic, "T")), "one-way send")
	}
	s.readBackExactlyOnce()
}

func sendBatch(s *scope) {
	p := s.producer()
	for round := 0; round < 5; round++ {
		var messages []*primitive.Message
		for i := 0; i < 12; i++ {
			messages = append(messages, s.ledger.message(s.topic, "T"))
		}
		result, err := p.SendSync(background, messages...)
		must(err, "batch")
		equal(primitive.SendOK, result.Status, "status of a batch")
		equal(12, len(strings.Split(result.OffsetMsgID, ",")), "offset message ids of a batch")
	}
	s.readBackExactlyOnce()
	// Batches lie together: the offsets of each run of twelve follow one another in one queue.
	place := map[string]*primitive.MessageExt{}
	for _, r := range s.ledger.all() {
		place[string(r.message.Body)] = r.message
	}
	for n := 0; n < 60; n++ {
		first, this := place[body(s.name, n/12*12)], place[body(s.name, n)]
		equal(first.Queue.QueueId, this.Queue.QueueId, "queue in a batch")
		equal(first.QueueOffset+int64(n%12), this.QueueOffset, "offset in a batch")
	}
}

func sendSelectors(s *scope) {
	manual := s.producer(producer.WithQueueSelector(producer.NewManualQueueSelector()))
	broker := s.send(s.producer(), s.ledger.message(s.topic, "T")).MessageQueue.BrokerName
	for i := 0; i < 20; i++ {
		message := s.ledger.message(s.topic, "T")
		message.Queue = &primitive.MessageQueue{Topic: s.topic, BrokerName: broker, QueueId: i % 4}
		equal(i%4, s.send(manual, message).MessageQueue.QueueId, "queue chosen by hand")
	}
	hashed := s.producer(producer.WithQueueSelector(producer.NewHashQueueSelector()))
	chosen := map[string]int{}
	for i := 0; i < 20; i++ {
		key := string(rune('a' + i%5))
		result := s.send(hashed, s.ledger.message(s.topic, "T").WithShardingKey(key))
		if earlier, known := chosen[key]; known {
			equal(earlier, result.MessageQueue.QueueId, "queue of sharding key "+key)
		}
		chosen[key] = result.MessageQueue.QueueId
	}
	s.readBackExactlyOnce()
}

func sendCompressed(s *scope) {
	p := s.producer(producer.WithQueueSelector(queueZero{}))
	text := bytes.Repeat([]byte("the same words again and again; "), 4096)
	noise := make([]byte, 1<<20)
	rand.New(rand.NewSource(3)).Read(noise)
	for _, each := range [][]byte{text, noise} {
		result, err := p.SendSync(background, primitive.NewMessage(s.topic, append([]byte(nil), each...)))
		must(err, "send")
		equal(primitive.SendOK, result.Status, "status")
	}
	received := newLedger("unused")
	s.push("*", func(_ context.Context, message *primitive.MessageExt) (result consumeResult) {
		received.seen("reader", message)
		return consumeSuccess
	})
	within(30*time.Second, say("two messages"), func() bool { return len(received.all()) == 2 })
	for _, r := range received.all() {
		if r.message.QueueOffset == 0 {
			that(bytes.Equal(text, r.message.Body), "text after decompression")
			that(int(r.message.StoreSize) < len(text)/10, "stored compressed, but takes %d", r.message.StoreSize)
		} else {
			that(bytes.Equal(noise, r.message.Body), "noise after decompression")
		}
	}
}

func sendProperties(s *scope) {
	p := s.producer(producer.WithQueueSelector(queueZero{}))
	message := s.ledger.message(s.topic, "Größe")
	message.WithKeys([]string{"first", "second"})
	message.WithProperty("colour", "bleu clair")
	message.WithProperty("世", "界")
	message.WithProperty("quote", "\"{'a':[1,2]}\"")
	message.Flag = 77
	before := time.Now().UnixMilli()
	s.send(p, message)
	s.readBackExactlyOnce()
	stored := s.ledger.all()[0].message
	equal("bleu clair", stored.GetProperty("colour"), "user property")
	equal("界", stored.GetProperty("世"), "user property in Chinese")
	equal("\"{'a':[1,2]}\"", stored.GetProperty("quote"), "user property with quotes")
	equal(int32(77), stored.Flag, "flag")
	that(stored.BornTimestamp >= before && stored.StoreTimestamp >= before-1000, "timestamps")
	that(strings.Contains(stored.StoreHost, ":") && stored.BornHost != "", "hosts %s, %s", stored.BornHost, stored.StoreHost)
}

// sendRefused: this client checks nothing itself, so these are the broker's own refusals.
func sendRefused(s *scope) {
	p := s.producer(producer.WithQueueSelector(queueZero{}))
	s.send(p, s.ledger.message(s.topic, "T"))
	noise := make([]byte, 5<<20)
	rand.New(rand.NewSource(3)).Read(noise)
	large := primitive.NewMessage(s.topic, noise)
	_, err := p.SendSync(background, large)
	that(err != nil && strings.Contains(err.Error(), "CODE: 13"), "5 MiB refused with code 13, was %v", err)

	crowded := primitive.NewMessage(s.topic, []byte("x"))
	crowded.WithProperty("long", strings.Repeat("v", 40_000))
	_, err = p.SendSync(background, crowded)
	that(err != nil && strings.Contains(err.Error(), "CODE: 13"), "40 KB of properties refused with code 13, was %v", err)

	_, err = p.SendSync(background, primitive.NewMessage("bad topic*", []byte("x")))
	that(err != nil, "an illegal topic name is refused")
	s.readBackExactlyOnce()
}
