// Cases for the unmodified Go client v2 against a running cluster:
//
//	clients -namesrv host:port [-case name,…]
//
// Prints "ok <name>" or "FAIL <name>: reason" for each case and "N passed, N failed" at the end.
package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/rlog"
)

// limit is when a whole run must be through; a case that hangs is reported as failed.
func limit() time.Duration {
	if isLong() {
		return 300 * time.Second
	}
	return 150 * time.Second
}

type testCase struct {
	name string
	run  func(*scope)
}

func main() {
	namesrv := flag.String("namesrv", "", "address of the name server")
	only := flag.String("case", "", "run these cases alone")
	threads := flag.Int("threads", 8, "cases at a time")
	flag.Parse()
	if *namesrv == "" {
		fmt.Fprintln(os.Stderr, "usage: -namesrv host:port [-case name,…]")
		os.Exit(2)
	}
	rlog.SetLogLevel("fatal")
	if os.Getenv("CLIENT_LOG_LEVEL") != "" {
		rlog.SetLogLevel(os.Getenv("CLIENT_LOG_LEVEL"))
	}

	// Slow cases first, so that the fast ones fill the gaps.
	all := append(append(append(append(stormCases, pullCases...), retryCases...), pushCases...), sendCases...)
	var cases []testCase
	for _, c := range all {
		if *only == "" || contains(strings.Split(*only, ","), c.name) {
			cases = append(cases, c)
		}
	}
	if len(cases) == 0 {
		fmt.Fprintln(os.Stderr, "no such case:", *only)
		os.Exit(2)
	}

	run := strconv.FormatInt(time.Now().UnixMilli(), 36)
	slots := make(chan struct{}, *threads)
	var mutex sync.Mutex
	outcome := map[string]string{}
	var running sync.WaitGroup
	for _, c := range cases {
		running.Add(1)
		go func(c testCase) {
			defer running.Done()
			slots <- struct{}{}
			defer func() { <-slots }()
			start := time.Now()
			failure := attempt(newScope(*namesrv, run, c.name), c)
			mutex.Lock()
			defer mutex.Unlock()
			outcome[c.name] = failure
			word := "ok " + c.name
			if failure != "" {
				word = "FAIL " + c.name + ": " + failure
			}
			fmt.Printf("%s  [%d ms]\n", word, time.Since(start).Milliseconds())
		}(c)
	}
	done := make(chan struct{})
	go func() { running.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(limit()):
	}

	mutex.Lock()
	passed := 0
	for _, c := range cases {
		failure, ended := outcome[c.name]
		if !ended {
			fmt.Printf("FAIL %s: hangs after %v\n", c.name, limit())
		} else if failure == "" {
			passed++
		}
	}
	fmt.Printf("%d passed, %d failed\n", passed, len(cases)-passed)
	if passed != len(cases) {
		os.Exit(1)
	}
}

// attempt gives the empty string, or why the case failed.
func attempt(s *scope, c testCase) (failure string) {
	defer s.close()
	defer func() {
		if r := recover(); r != nil {
			failure = strings.ReplaceAll(fmt.Sprint(r), "\n", " ")
		}
	}()
	c.run(s)
	return ""
}

func contains(list []string, name string) bool {
	for _, each := range list {
		if each == name {
			return true
		}
	}
	return false
}
