package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
)

type receipt struct {
	who     string
	message *primitive.MessageExt
	at      time.Time
}

// ledger accounts for every message of one case by its body, which is unique.
type ledger struct {
	mutex    sync.Mutex
	prefix   string
	next     int
	expected map[string]*primitive.Message
	answers  map[string]*primitive.SendResult
	arrivals []receipt
}

func newLedger(prefix string) *ledger {
	return &ledger{prefix: prefix, expected: map[string]*primitive.Message{}, answers: map[string]*primitive.SendResult{}}
}

// message makes one that must arrive.
func (l *ledger) message(topic, tag string) *primitive.Message {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	message := primitive.NewMessage(topic, []byte(fmt.Sprintf("%s#%d", l.prefix, l.next)))
	message.WithKeys([]string{fmt.Sprintf("key-%d", l.next)})
	if tag != "" {
		message.WithTag(tag)
	}
	l.next++
	l.expected[string(message.Body)] = message
	return message
}

// sent notes the broker's answer, which must be OK.
func (l *ledger) sent(message *primitive.Message, result *primitive.SendResult) {
	equal(primitive.SendOK, result.Status, "send status of "+string(message.Body))
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.answers[string(message.Body)] = result
}

func (l *ledger) answer(message *primitive.Message) *primitive.SendResult {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.answers[string(message.Body)]
}

func (l *ledger) seen(who string, message *primitive.MessageExt) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.arrivals = append(l.arrivals, receipt{who: who, message: copyOf(message), at: time.Now()})
}

// copyOf keeps the fields under test; the client goes on changing its own object.
func copyOf(m *primitive.MessageExt) *primitive.MessageExt {
	kept := &primitive.MessageExt{MsgId: m.MsgId, OffsetMsgId: m.OffsetMsgId, QueueOffset: m.QueueOffset, ReconsumeTimes: m.ReconsumeTimes,
		BornTimestamp: m.BornTimestamp, BornHost: m.BornHost, StoreTimestamp: m.StoreTimestamp, StoreHost: m.StoreHost, StoreSize: m.StoreSize}
	kept.Topic = m.Topic
	kept.Body = append([]byte(nil), m.Body...)
	kept.Flag = m.Flag
	queue := *m.Queue
	kept.Queue = &queue
	properties := map[string]string{}
	for k, v := range m.GetProperties() {
		properties[k] = v
	}
	kept.WithProperties(properties)
	return kept
}

func (l *ledger) receipts(body string) []receipt {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	var found []receipt
	for _, r := range l.arrivals {
		if string(r.message.Body) == body {
			found = append(found, r)
		}
	}
	return found
}

func (l *ledger) all() []receipt {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return append([]receipt(nil), l.arrivals...)
}

func (l *ledger) expectedCount() int {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return len(l.expected)
}

// missing counts what nobody has seen; with a name, what that consumer has not seen.
func (l *ledger) missing(who string) int {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	got := map[string]bool{}
	for _, r := range l.arrivals {
		if who == "" || r.who == who {
			got[string(r.message.Body)] = true
		}
	}
	count := 0
	for body := range l.expected {
		if !got[body] {
			count++
		}
	}
	return count
}

func (l *ledger) distinctSeenBy(who string) int {
	got := map[string]bool{}
	for _, r := range l.all() {
		if r.who == who {
			got[string(r.message.Body)] = true
		}
	}
	return len(got)
}

func (l *ledger) duplicates() int {
	got := map[string]bool{}
	for _, r := range l.all() {
		got[string(r.message.Body)] = true
	}
	return len(l.all()) - len(got)
}

func (l *ledger) awaitAll(limit time.Duration) {
	within(limit, func() string {
		return fmt.Sprintf("%d messages received, missing %d", l.expectedCount(), l.missing(""))
	},
		func() bool { return l.missing("") == 0 })
}

// checkContents: everything received was sent, is whole, and lies where the broker said.
func (l *ledger) checkContents() {
	for _, r := range l.all() {
		body := string(r.message.Body)
		l.mutex.Lock()
		original, answer := l.expected[body], l.answers[body]
		l.mutex.Unlock()
		that(original != nil, "received what was not sent: %s", body)
		equal(original.GetKeys(), r.message.GetKeys(), "keys of "+body)
		equal(original.GetTags(), r.message.GetTags(), "tag of "+body)
		if answer == nil || r.message.ReconsumeTimes > 0 {
			continue // one-way or batch; or a retry, stored at another place
		}
		equal(original.Topic, r.message.Topic, "topic of "+body)
		equal(answer.MsgID, r.message.MsgId, "msgId of "+body)
		equal(answer.OffsetMsgID, r.message.OffsetMsgId, "offset msgId of "+body)
		equal(answer.MessageQueue.QueueId, r.message.Queue.QueueId, "queue of "+body)
		equal(answer.QueueOffset, r.message.QueueOffset, "queue offset of "+body)
	}
}

func (l *ledger) checkExactlyOnce() {
	l.checkContents()
	equal(0, l.missing(""), "missing messages")
	equal(l.expectedCount(), len(l.all()), "deliveries")
}
