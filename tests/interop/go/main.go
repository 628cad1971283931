// The Apache Go client as a test peer: peer NAMESRV SCENARIO PREFIX. Runs one scenario, prints a
// PASS or FAIL line per check, and exits 0 only if there was at least one check and none failed.
package main

import (
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2/rlog"
)

// Beyond this a scenario is stuck: the longest waits most of a minute for a route refresh.
const scenarioLimit = 150 * time.Second

var scenarios = map[string]func(*clients, *report){
	"send":          send,
	"consume":       consume,
	"broadcast":     broadcast,
	"orderly":       orderly,
	"delay":         delay,
	"retry":         retry,
	"transaction":   transaction,
	"probe-produce": probeProduce,
	"probe-consume": probeConsume,
}

func main() {
	var names []string
	for name := range scenarios {
		names = append(names, name)
	}
	sort.Strings(names)
	if len(os.Args) != 4 || scenarios[os.Args[2]] == nil {
		fmt.Fprintf(os.Stderr, "usage: %s NAMESRV SCENARIO PREFIX, SCENARIO one of %s\n",
			os.Args[0], strings.Join(names, " "))
		os.Exit(2)
	}
	rlog.SetLogLevel("warn")
	scenario := os.Args[2]
	time.AfterFunc(scenarioLimit, func() {
		fmt.Printf("FAIL %s still running after %s\n", scenario, scenarioLimit)
		os.Exit(3)
	})

	c := &clients{namesrv: os.Args[1], prefix: os.Args[3]}
	r := &report{}
	r.guard(scenario, func() { scenarios[scenario](c, r) })
	c.close()
	if !r.good() {
		os.Exit(1)
	}
}
