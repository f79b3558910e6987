// Command cronvectors asks github.com/robfig/cron, which Kubernetes and upstream Kelos use, when schedules fire, and
// writes the answers as lines of JSON for a test of ours: schedule, time zone, an instant, the next three instants.
//
//	go run ./cronvectors >../testdata/upstream/cron-robfig.jsonl
//
// The same program writes the same lines, as far as the time zone database of the machine stays the same: cases begin
// between 2015 and 2024, about which that database no longer changes.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

const cases = 5000

var zones = []string{
	"UTC", "America/New_York", "America/Sao_Paulo", "America/Havana", "America/Santiago", "America/St_Johns",
	"America/Asuncion", "Europe/London", "Europe/Berlin", "Europe/Chisinau", "Africa/Cairo", "Africa/Casablanca",
	"Asia/Kolkata", "Asia/Kathmandu", "Asia/Beirut", "Asia/Gaza", "Asia/Tehran", "Asia/Pyongyang", "Asia/Tokyo",
	"Australia/Lord_Howe", "Australia/Sydney", "Australia/Eucla", "Antarctica/Troll", "Pacific/Auckland",
	"Pacific/Chatham", "Pacific/Apia", "Pacific/Kiritimati", "Pacific/Marquesas",
}

var months = []string{"jan", "FEB", "Mar", "apr", "MAY", "jun", "jul", "aug", "SEP", "oct", "nov", "Dec"}
var weekdays = []string{"SUN", "mon", "Tue", "wed", "THU", "fri", "sat"}

func main() {
	parser := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	random := rand.New(rand.NewSource(20261127))
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for written := 0; written < cases; {
		expression := expression(random)
		zone := zones[random.Intn(len(zones))]
		location, err := time.LoadLocation(zone)
		check(err)
		schedule, err := parser.Parse("CRON_TZ=" + zone + " " + expression)
		check(err)
		begin := time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
		after := time.Unix(begin+random.Int63n(10*365*86400), 0)
		if random.Intn(3) == 0 {
			after = beforeChange(after, location, random)
		}
		ticks := []string{}
		for next := schedule.Next(after.In(location)); !next.IsZero() && len(ticks) < 3; next = schedule.Next(next) {
			ticks = append(ticks, next.UTC().Format(time.RFC3339))
		}
		text, err := json.Marshal([]any{expression, zone, after.UTC().Format(time.RFC3339), ticks})
		check(err)
		fmt.Fprintf(out, "%s\n", text)
		written++
	}
}

// beforeChange returns an instant up to two days before the next change of the clocks, where the surprises are.
func beforeChange(after time.Time, location *time.Location, random *rand.Rand) time.Time {
	_, offset := after.In(location).Zone()
	for hours := 0; hours < 400*24; hours++ {
		later := after.Add(time.Duration(hours) * time.Hour)
		if _, other := later.In(location).Zone(); other != offset {
			return later.Add(-time.Duration(random.Intn(48*3600)) * time.Second)
		}
	}
	return after
}

func expression(random *rand.Rand) string {
	if random.Intn(40) == 0 {
		macros := []string{"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"}
		return macros[random.Intn(len(macros))]
	}
	fields := []string{
		field(random, 0, 59, nil), field(random, 0, 23, nil), field(random, 1, 31, nil),
		field(random, 1, 12, months), field(random, 0, 6, weekdays),
	}
	// Most lists of days and months would otherwise hide what the smaller fields do.
	if random.Intn(2) == 0 {
		fields[3] = "*"
	}
	return strings.Join(fields, " ")
}

func field(random *rand.Rand, low, high int, names []string) string {
	items := 1
	if random.Intn(5) == 0 {
		items += random.Intn(3)
	}
	parts := make([]string, items)
	for index := range parts {
		parts[index] = item(random, low, high, names)
	}
	return strings.Join(parts, ",")
}

func item(random *rand.Rand, low, high int, names []string) string {
	number := func() int { return low + random.Intn(high-low+1) }
	word := func(number int) string {
		if names != nil && random.Intn(2) == 0 {
			return names[number-low]
		}
		return strconv.Itoa(number)
	}
	step := func() string { return strconv.Itoa(1 + random.Intn(high+4)) }
	first, second := number(), number()
	if first > second {
		first, second = second, first
	}
	switch random.Intn(9) {
	case 0, 1, 2:
		return "*"
	case 3:
		return "*/" + step()
	case 4:
		return word(first) + "/" + step()
	case 5:
		return word(first) + "-" + word(second)
	case 6:
		return word(first) + "-" + word(second) + "/" + step()
	case 7:
		return "?"
	default:
		return word(first)
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
