package main

import (
	"fmt"
	"reflect"
	"time"
)

// A failed check ends its case by panic; attempt turns that into the reason.

func that(condition bool, format string, arguments ...any) {
	if !condition {
		panic(fmt.Sprintf(format, arguments...))
	}
}

func equal(expected, actual any, what string) {
	if !reflect.DeepEqual(expected, actual) {
		panic(fmt.Sprintf("%s: expected %v, was %v", what, expected, actual))
	}
}

func must(err error, what string) {
	if err != nil {
		panic(fmt.Sprintf("%s: %v", what, err))
	}
}

// within polls until the condition holds; a pass never waits for the whole limit.
func within(limit time.Duration, what func() string, condition func() bool) {
	end := time.Now().Add(limit)
	for !condition() {
		if time.Now().After(end) {
			panic(fmt.Sprintf("not within %v: %s", limit, what()))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func say(text string) func() string {
	return func() string { return text }
}
