package main

import (
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	mq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// A group whose members join and leave all the time, while messages come.

var stormCases = []testCase{{"push_rebalance_storm", stormOfMembers}}

const (
	stormMembersMax = 20
	stormMembersMin = 4
	// More than members, so that all of them have something in the end and not all have the same number.
	stormQueues = 24
	// The storm's order of events; another seed gives another order.
	stormSeed = 20
	// This client commits what it has consumed with each pull, when it gives a queue up, and every 5 s, first after 10 s. But with each
	// queue that it gives up it forgets how far it is in the others, until it consumes something of them again: in a storm that is half
	// of all messages twice, where the Java client has a few of a hundred.
	commitsWithin = 15 * time.Second
)

func isLong() bool { return os.Getenv("RINGMQ_LONG") != "" }

func stormTime() time.Duration {
	if isLong() {
		return 2 * time.Minute
	}
	return 15 * time.Second
}

// allocation is what the client's rebalancing gave a member, and when.
type allocation struct {
	at     time.Time
	queues map[int]bool
}

// member is a consumer with the history of its queues.
type member struct {
	name     string
	topic    string
	consumer mq.PushConsumer
	mutex    sync.Mutex
	history  []allocation
}

func (m *member) allocate(group, client string, queues []*primitive.MessageQueue, clients []string) []*primitive.MessageQueue {
	mine := consumer.AllocateByAveragely(group, client, queues, clients)
	if len(queues) > 0 && queues[0].Topic == m.topic {
		ids := map[int]bool{}
		for _, queue := range mine {
			ids[queue.QueueId] = true
		}
		m.mutex.Lock()
		defer m.mutex.Unlock()
		m.history = append(m.history, allocation{time.Now(), ids})
	}
	return mine
}

// held gives the queues of its last allocation.
func (m *member) held() map[int]bool {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if len(m.history) == 0 {
		return nil
	}
	return m.history[len(m.history)-1].queues
}

// lacked tells whether there was a moment in between at which the queue was not among those it had been given last.
func (m *member) lacked(queue int, from, to time.Time) bool {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for i, a := range m.history {
		isLast := i+1 == len(m.history)
		if !a.queues[queue] && a.at.Before(to) && (isLast || m.history[i+1].at.After(from)) {
			return true
		}
	}
	return false
}

// heldSince gives the beginning of the time in which it had the queue without interruption, seen from a moment at which it had it.
func (m *member) heldSince(queue int, at time.Time) (since time.Time, had bool) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for _, a := range m.history {
		if a.at.After(at) {
			break
		}
		if a.queues[queue] && !had {
			since = a.at
		}
		had = a.queues[queue]
	}
	return since, had
}

func stormOfMembers(s *scope) {
	p := s.producer(producer.WithQueueSelector(producer.NewRoundRobinQueueSelector()))
	s.createTopic(p, stormQueues)
	stop, stopped := make(chan struct{}), make(chan any, 1)
	go func() {
		defer func() { stopped <- recover() }()
		for {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
				s.sendSync(p, 1)
			}
		}
	}()

	everyone := map[string]*member{}
	var members []*member
	var leaving sync.WaitGroup
	random := rand.New(rand.NewSource(stormSeed))
	join := func() {
		m := &member{name: fmt.Sprint("member-", len(everyone)), topic: s.topic}
		m.consumer = s.push("*", s.recording(m.name), consumer.WithStrategy(m.allocate))
		everyone[m.name] = m
		members = append(members, m)
	}
	changes := 0
	for end := time.Now().Add(stormTime()); time.Now().Before(end); changes++ {
		if len(members) <= stormMembersMin || len(members) < stormMembersMax && random.Intn(2) == 0 {
			join()
		} else {
			i := random.Intn(len(members))
			leaver := members[i]
			members = append(members[:i], members[i+1:]...)
			leaving.Add(1)
			go func() {
				defer leaving.Done()
				leave(leaver)
			}()
		}
		time.Sleep(time.Duration(random.Intn(300)) * time.Millisecond)
	}
	for len(members) < stormMembersMax {
		join()
	}
	leaving.Wait()
	awaitBalanced(members)
	close(stop)
	equal(nil, <-stopped, "failure of the sender")
	s.ledger.awaitAll(60 * time.Second)
	fmt.Printf("%s: %d joined or left, %d messages, %d delivered again\n", s.name, changes, s.ledger.expectedCount(), s.ledger.duplicates())

	checkOwners(s, p, members)
	s.ledger.checkContents()
	explainDuplicates(s.ledger, everyone)
	// Close to nothing would mean that nobody was there to receive again what others had: then the storm was none.
	that(s.ledger.expectedCount() > int(stormTime().Seconds())*10, "enough was sent: %d", s.ledger.expectedCount())
}

// leave ends a member. This client's Shutdown may send on a channel that it has just closed when a pull is answered at the same time, and
// then ends the whole process: no new pull is begun before, and those that wait for a message find one within a second.
func leave(m *member) {
	m.consumer.Suspend()
	time.Sleep(time.Second)
	_ = m.consumer.Shutdown()
}

// createTopic: this client's admin wants the broker's address, which the id of a message tells.
func (s *scope) createTopic(p mq.Producer, queues int) {
	result, err := p.SendSync(background, primitive.NewMessage(s.topic+"_address", []byte("where is the broker?")))
	must(err, "send")
	id, err := primitive.UnmarshalMsgID([]byte(result.OffsetMsgID))
	must(err, "offset message id")
	operator, err := admin.NewAdmin(admin.WithResolver(primitive.NewPassthroughResolver(s.namesrv)))
	must(err, "admin")
	defer func() { _ = operator.Close() }()
	must(operator.CreateTopic(background, admin.WithTopicCreate(s.topic), admin.WithBrokerAddrCreate(fmt.Sprintf("%s:%d", id.Addr, id.Port)),
		admin.WithReadQueueNums(queues), admin.WithWriteQueueNums(queues)), "creation of the topic")
	within(10*time.Second, say("route of the topic"), func() bool {
		found, err := operator.FetchPublishMessageQueues(background, s.topic)
		return err == nil && len(found) == queues
	})
}

// owners gives the owner of each queue, or why the queues are not shared evenly.
func owners(members []*member) (map[int]*member, string) {
	owner := map[int]*member{}
	for _, m := range members {
		held := m.held()
		if least := stormQueues / stormMembersMax; len(held) < least || len(held) > least+1 {
			return nil, fmt.Sprintf("%s has %d queues", m.name, len(held))
		}
		for queue := range held {
			if owner[queue] != nil {
				return nil, fmt.Sprintf("queue %d has two owners", queue)
			}
			owner[queue] = m
		}
	}
	if len(owner) != stormQueues {
		return nil, fmt.Sprintf("%d queues have owners", len(owner))
	}
	return owner, ""
}

// awaitBalanced: every queue has one owner, and nobody has more than one queue more than another. A member that was told of two
// changes at once may have asked before the second: this client looks again after 20 s.
func awaitBalanced(members []*member) {
	why := ""
	within(60*time.Second, func() string { return why }, func() bool {
		_, why = owners(members)
		return why == ""
	})
}

// checkOwners: what is sent now comes once, to the owner of its queue.
func checkOwners(s *scope, p mq.Producer, members []*member) {
	owner, why := owners(members)
	equal("", why, "still balanced")
	before := len(s.ledger.all())
	first := s.ledger.expectedCount()
	s.sendSync(p, 2*stormQueues)
	s.ledger.awaitAll(30 * time.Second)
	time.Sleep(500 * time.Millisecond) // time for unwanted repeats
	count := map[string]int{}
	for _, r := range s.ledger.all()[before:] {
		text := string(r.message.Body)
		if number(text) >= first {
			count[text]++
			equal(owner[r.message.Queue.QueueId].name, r.who, "receiver of queue "+fmt.Sprint(r.message.Queue.QueueId))
		}
	}
	equal(2*stormQueues, len(count), "messages of the last round")
	for text, times := range count {
		equal(1, times, "deliveries of "+text)
	}
}

// number of a message, from its body.
func number(body string) int {
	n, err := strconv.Atoi(body[strings.IndexByte(body, '#')+1:])
	must(err, "number of "+body)
	return n
}

// explainDuplicates: a message may come again only because its queue went to another member before the offset did. So each repeated
// delivery is to another member, or to the same one after it had lacked the queue; and the message had been consumed so shortly before
// the queue changed hands that its offset need not have been committed. A member that keeps its queue sees every message once.
func explainDuplicates(l *ledger, everyone map[string]*member) {
	before := map[string]receipt{}
	last := map[string]receipt{}
	for _, r := range l.all() {
		text, queue, m := string(r.message.Body), r.message.Queue.QueueId, everyone[r.who]
		since, had := m.heldSince(queue, r.at)
		if earlier, again := last[r.who+" "+text]; again {
			that(m.lacked(queue, earlier.at, r.at), "%s came twice to %s, which had queue %d all the time", text, r.who, queue)
		}
		if earlier, again := before[text]; again && had {
			late := since.Sub(earlier.at)
			that(late < commitsWithin, "%s came to %s again, %v after %s had it and %s got queue %d", text, r.who, late, earlier.who, r.who, queue)
		}
		last[r.who+" "+text], before[text] = r, r
	}
}
