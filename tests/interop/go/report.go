package main

import (
	"fmt"
	"reflect"
	"sort"
	"strings"
	"time"
)

// How long a check waits for something the broker ought to do at once.
const soon = 20 * time.Second

// report counts checks. A check is a function that returns a detail for the reader or panics with
// a complaint.
type report struct {
	passed, failed int
}

type complaint string

func (r *report) check(name string, check func() string) {
	r.guard(name, func() {
		detail := check()
		r.passed++
		fmt.Printf("PASS %s %s\n", name, detail)
	})
}

// guard turns a complaint of body into a FAIL line of name.
func (r *report) guard(name string, body func()) {
	defer func() {
		if e := recover(); e != nil {
			text, ok := e.(complaint)
			if !ok {
				panic(e)
			}
			r.failed++
			fmt.Printf("FAIL %s %s\n", name, strings.ReplaceAll(string(text), "\n", " "))
		}
	}()
	body()
}

func (r *report) good() bool {
	return r.failed == 0 && r.passed > 0
}

func require(condition bool, format string, args ...interface{}) {
	if !condition {
		panic(complaint(fmt.Sprintf(format, args...)))
	}
}

func must(what string, err error) {
	require(err == nil, "%s: %v", what, err)
}

func same(what string, expected, actual interface{}) {
	require(reflect.DeepEqual(expected, actual), "%s: expected %v, got %v", what, expected, actual)
}

// sameElements wants each element of expected once and nothing else, in any order.
func sameElements(what string, expected, actual []string) {
	count := map[string]int{}
	for _, e := range expected {
		count[e]++
	}
	for _, a := range actual {
		count[a]--
	}
	var missing, extra []string
	for element, n := range count {
		if n > 0 {
			missing = append(missing, element)
		} else if n < 0 {
			extra = append(extra, element)
		}
	}
	sort.Strings(missing)
	sort.Strings(extra)
	require(len(missing)+len(extra) == 0, "%s: expected %d, got %d; missing %v, unexpected %v",
		what, len(expected), len(actual), missing, extra)
}

func await(what string, limit time.Duration, condition func() bool) {
	for deadline := time.Now().Add(limit); !condition(); time.Sleep(20 * time.Millisecond) {
		require(time.Now().Before(deadline), "not within %s: %s", limit, what)
	}
}
