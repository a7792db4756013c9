package policy

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // a gateway may run where there is no zone database
)

// Hours are weekly windows of time, each in its own time zone.
type Hours []Window

// Window is a span of each of some days of the week. One that ends at or
// before the time at which it starts ends on the next day.
type Window struct {
	Days       [7]bool // by time.Weekday: the days on which it starts
	Start, End int     // minutes from midnight, by the wall clock; End is up to 1440
	Zone       *time.Location
}

const dayMinutes = 24 * 60

// weekdays in the order in which people count them.
var weekdays = [7]string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}

// ParseHours reads windows such as "Mon-Fri 08:00-19:00 Europe/Berlin",
// separated by commas. Days may be listed ("Mon,Wed,Fri 08:00-12:00"). A window
// without days has those of the window before it, or every day; a window
// without a zone has that of the window after it, and the last has UTC.
func ParseHours(text string) (Hours, error) {
	const maxWindows = 100
	var hours Hours
	var days, before [7]bool
	for i := range before {
		before[i] = true
	}
	listing := false
	for part := range strings.SplitSeq(text, ",") {
		fields := strings.Fields(part)
		if len(fields) == 0 {
			return nil, errors.New(`a window is empty; expected windows like "Mon-Fri 08:00-19:00 Europe/Berlin"`)
		}
		if fields[0][0] < '0' || fields[0][0] > '9' {
			if err := addDays(&days, fields[0]); err != nil {
				return nil, err
			}
			listing = true
			fields = fields[1:]
			if len(fields) == 0 {
				continue // a list of days: the hours follow
			}
		}
		w := Window{Days: before}
		if listing {
			w.Days, before, days, listing = days, days, [7]bool{}, false
		}
		if err := w.parseTimes(fields); err != nil {
			return nil, err
		}
		if hours = append(hours, w); len(hours) > maxWindows {
			return nil, fmt.Errorf("there are more than %d windows", maxWindows)
		}
	}
	if listing {
		return nil, errors.New(`the last days have no hours; expected windows like "Mon-Fri 08:00-19:00 Europe/Berlin"`)
	}
	zone := time.UTC
	for i := len(hours) - 1; i >= 0; i-- {
		if hours[i].Zone == nil {
			hours[i].Zone = zone
		}
		zone = hours[i].Zone
	}
	return hours, nil
}

// parseTimes reads "08:00-19:00" and a zone, if there is one.
func (w *Window) parseTimes(fields []string) error {
	start, end, ok := strings.Cut(fields[0], "-")
	var okStart, okEnd bool
	w.Start, okStart = parseClock(start)
	w.End, okEnd = parseClock(end)
	if !ok || !okStart || !okEnd || w.Start == dayMinutes || len(fields) > 2 {
		return fmt.Errorf("%s are no hours; expected a window like %q", shown(strings.Join(fields, " ")), "Mon-Fri 08:00-19:00 Europe/Berlin")
	}
	if w.Start == w.End {
		return fmt.Errorf("%s starts and ends at the same time; the whole day is 00:00-24:00", shown(fields[0]))
	}
	if len(fields) == 2 {
		zone, err := time.LoadLocation(fields[1])
		if err != nil || fields[1] == "Local" {
			return fmt.Errorf("%s is no time zone; expected one like Europe/Berlin or UTC", shown(fields[1]))
		}
		w.Zone = zone
	}
	return nil
}

// parseClock reads "08:00", up to "24:00".
func parseClock(text string) (minutes int, ok bool) {
	if len(text) != 5 || text[2] != ':' {
		return 0, false
	}
	for _, i := range []int{0, 1, 3, 4} {
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
	}
	hour, minute := int(text[0]-'0')*10+int(text[1]-'0'), int(text[3]-'0')*10+int(text[4]-'0')
	minutes = hour*60 + minute
	return minutes, minute < 60 && minutes <= dayMinutes
}

// addDays reads "Mon" or "Mon-Fri"; a span may run over the week's end.
func addDays(days *[7]bool, text string) error {
	first, last, span := strings.Cut(text, "-")
	from, ok := parseDay(first)
	to, okTo := from, true
	if span {
		to, okTo = parseDay(last)
	}
	if !ok || !okTo {
		return fmt.Errorf("%s are no days; expected days like Mon or Mon-Fri", shown(text))
	}
	for day := from; ; day = (day + 1) % 7 {
		days[(day+1)%7] = true // from Monday = 0 to time.Weekday's Sunday = 0
		if day == to {
			return nil
		}
	}
}

// parseDay is the day's number from Monday, 0.
func parseDay(text string) (int, bool) {
	for i, name := range weekdays {
		if len(text) == 3 && strings.EqualFold(text, name) {
			return i, true
		}
	}
	return 0, false
}

// String is the hours as they are written; every window says everything.
func (h Hours) String() string {
	parts := make([]string, 0, len(h))
	for _, w := range h {
		parts = append(parts, w.String())
	}
	return strings.Join(parts, ", ")
}

// String is the window as it is written.
func (w Window) String() string {
	text := fmt.Sprintf("%02d:%02d-%02d:%02d %s", w.Start/60, w.Start%60, w.End/60, w.End%60, w.Zone)
	var days []string
	for i := 0; i < 7; {
		first := i
		for i < 7 && w.Days[(i+1)%7] {
			i++
		}
		switch {
		case i-first == 1:
			days = append(days, weekdays[first])
		case i-first == 7:
			return text
		case i > first:
			days = append(days, weekdays[first]+"-"+weekdays[i-1])
		}
		i = max(i, first+1)
	}
	return strings.Join(days, ",") + " " + text
}

// At says whether t is in a window, and when the hours end that t is in, with
// windows that meet counted as one. A zero until is forever: there is no end
// within the next eight days.
func (h Hours) At(t time.Time) (until time.Time, ok bool) {
	const horizon = 8 * 24 * time.Hour
	until = t
	for {
		end, in := h.end(until)
		if !in {
			return until, until.After(t)
		}
		if until = end; until.Sub(t) > horizon {
			return time.Time{}, true
		}
	}
}

// end is the latest end of the windows that t is in.
func (h Hours) end(t time.Time) (end time.Time, in bool) {
	for _, w := range h {
		local := t.In(w.Zone)
		// A window that holds t started today or, over midnight, yesterday.
		for _, back := range []int{0, 1} {
			day := time.Date(local.Year(), local.Month(), local.Day()-back, 12, 0, 0, 0, time.UTC)
			if !w.Days[day.Weekday()] {
				continue
			}
			from, to := w.on(day)
			if !t.Before(from) && t.Before(to) && to.After(end) {
				end, in = to, true
			}
		}
	}
	return end, in
}

// on are the moments at which the window that starts on a day starts and ends.
func (w Window) on(day time.Time) (from, to time.Time) {
	from = wallClock(day, w.Start, w.Zone)
	if w.End <= w.Start {
		day = day.AddDate(0, 0, 1)
	}
	return from, wallClock(day, w.End, w.Zone)
}

// wallClock is the first moment at which clocks in the zone show the time or,
// where they leap over it, the moment at which they leap.
func wallClock(day time.Time, minutes int, zone *time.Location) time.Time {
	want := time.Date(day.Year(), day.Month(), day.Day(), 0, minutes, 0, 0, time.UTC)
	t := time.Date(day.Year(), day.Month(), day.Day(), 0, minutes, 0, 0, zone)
	start, end := t.ZoneBounds()
	_, offset := t.Zone()
	switch shown := t.Unix() + int64(offset); {
	case shown > want.Unix(): // leapt over: t is after the leap
		return start
	case shown < want.Unix(): // leapt over: t is before the leap
		return end
	}
	if !start.IsZero() {
		// Clocks that were set back show the time twice.
		_, before := start.Add(-time.Second).Zone()
		if earlier := t.Add(-time.Duration(before-offset) * time.Second); before > offset && earlier.Before(start) {
			return earlier
		}
	}
	return t
}
