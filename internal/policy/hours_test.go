package policy

import (
	"strings"
	"testing"
	"time"
)

func TestHours(t *testing.T) {
	for _, c := range []struct{ hours, at, until string }{
		// until: "" is closed, "forever" has no end.
		{"Mon-Fri 08:00-19:00 Europe/Berlin", "2026-01-05T07:00:00Z", "2026-01-05T18:00:00Z"}, // Monday, 08:00 in Berlin
		{"Mon-Fri 08:00-19:00 Europe/Berlin", "2026-01-05T06:59:59Z", ""},
		{"Mon-Fri 08:00-19:00 Europe/Berlin", "2026-01-05T18:00:00Z", ""}, // the end itself is outside
		{"Mon-Fri 08:00-19:00 Europe/Berlin", "2026-07-06T17:30:00Z", ""}, // summer: 19:30
		{"Mon-Fri 08:00-19:00 Europe/Berlin", "2026-07-06T06:00:00Z", "2026-07-06T17:00:00Z"},
		{"Mon-Fri 08:00-19:00 Europe/Berlin", "2026-01-03T12:00:00Z", ""}, // Saturday
		{"Mon-Fri 08:00-19:00", "2026-01-05T18:59:00Z", "2026-01-05T19:00:00Z"},
		{"08:00-19:00", "2026-01-04T18:59:00Z", "2026-01-04T19:00:00Z"}, // every day
		{"Sun 10:00-11:00", "2026-01-04T10:30:00Z", "2026-01-04T11:00:00Z"},
		{"Sat-Mon 10:00-11:00", "2026-01-04T10:30:00Z", "2026-01-04T11:00:00Z"}, // over the week's end
		{"Sat-Mon 10:00-11:00", "2026-01-06T10:30:00Z", ""},                     // Tuesday
		{"Mon,Wed 10:00-11:00", "2026-01-07T10:30:00Z", "2026-01-07T11:00:00Z"},
		{"Mon,Wed 10:00-11:00", "2026-01-06T10:30:00Z", ""},

		// Over midnight: the window belongs to the day on which it starts.
		{"Fri 22:00-06:00", "2026-01-03T05:59:00Z", "2026-01-03T06:00:00Z"}, // Saturday morning
		{"Fri 22:00-06:00", "2026-01-02T05:59:00Z", ""},                     // Friday morning
		{"Mon-Fri 22:00-06:00 America/New_York", "2026-01-06T04:00:00Z", "2026-01-06T11:00:00Z"},
		{"Mon 20:00-24:00", "2026-01-05T23:59:59Z", "2026-01-06T00:00:00Z"},

		// Windows that meet are one.
		{"Mon 08:00-12:00, 12:00-18:00", "2026-01-05T09:00:00Z", "2026-01-05T18:00:00Z"},
		{"Mon 08:00-13:00, 12:00-18:00", "2026-01-05T09:00:00Z", "2026-01-05T18:00:00Z"},
		{"Mon-Tue 00:00-24:00", "2026-01-05T09:00:00Z", "2026-01-07T00:00:00Z"},
		{"00:00-24:00", "2026-01-05T09:00:00Z", "forever"},
		{"06:00-18:00, 18:00-06:00", "2026-01-05T09:00:00Z", "forever"},
		{"Mon-Fri 08:00-12:00, 13:00-17:00 Europe/Berlin", "2026-01-05T15:30:00Z", "2026-01-05T16:00:00Z"}, // both in Berlin
		{"Mon-Fri 08:00-12:00 Europe/Berlin, 13:00-17:00 UTC", "2026-01-05T16:30:00Z", "2026-01-05T17:00:00Z"},

		// 29 March 2026, Berlin: clocks leap from 02:00 to 03:00 (01:00 UTC).
		{"Sun 00:00-02:30 Europe/Berlin", "2026-03-29T00:59:00Z", "2026-03-29T01:00:00Z"}, // 02:30 isn't shown: the leap
		{"Sun 02:30-04:00 Europe/Berlin", "2026-03-29T00:59:59Z", ""},
		{"Sun 02:30-04:00 Europe/Berlin", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"},
		{"Sun 01:00-05:00 Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-29T03:00:00Z"}, // three hours, not four
		// 25 October 2026, Berlin: 03:00 is followed by 02:00 again (01:00 UTC).
		{"Sun 00:00-02:30 Europe/Berlin", "2026-10-25T00:29:00Z", "2026-10-25T00:30:00Z"}, // the first 02:30
		{"Sun 00:00-02:30 Europe/Berlin", "2026-10-25T01:15:00Z", ""},                     // 02:15 for the second time
		{"Sun 02:15-04:00 Europe/Berlin", "2026-10-25T00:20:00Z", "2026-10-25T03:00:00Z"},
		{"Sun 01:00-05:00 Europe/Berlin", "2026-10-24T23:00:00Z", "2026-10-25T04:00:00Z"}, // five hours
		{"00:00-24:00 Europe/Berlin", "2026-10-25T01:15:00Z", "forever"},
		// 11 September 2022, Santiago: there was no midnight.
		{"Sun 00:00-08:00 America/Santiago", "2022-09-11T04:00:00Z", "2022-09-11T11:00:00Z"},
		{"Sat 08:00-24:00 America/Santiago", "2022-09-11T03:59:59Z", "2022-09-11T04:00:00Z"},
		// Samoa had no 30 December 2011.
		{"Fri 00:00-24:00 Pacific/Apia", "2011-12-30T10:00:00Z", ""},
	} {
		hours, err := ParseHours(c.hours)
		if err != nil {
			t.Errorf("%s: %v", c.hours, err)
			continue
		}
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		until, ok := hours.At(at)
		got := ""
		switch {
		case ok && until.IsZero():
			got = "forever"
		case ok:
			got = until.UTC().Format(time.RFC3339)
		}
		if got != c.until {
			t.Errorf("%s at %s: until %q, want %q", c.hours, c.at, got, c.until)
		}
	}
}

func TestHoursMistakes(t *testing.T) {
	for _, text := range []string{
		"", ",", "Mon", "Mon,", "08:00", "8:00-9:00", "08:00-25:00", "08:60-09:00", "24:00-08:00", "08:00-08:00", "Mun 08:00-09:00",
		"Mon-Fry 08:00-09:00", "08:00-09:00 Mars/Olympus", "08:00-09:00 Local", "08:00-09:00 UTC CET", "Mon Tue 08:00-09:00",
		"08:00-09:00-10:00", "०८:००-०९:००", "Mon–Fri 08:00-09:00", "Monday 08:00-09:00", "08:00-09:00 ../../etc/passwd",
		strings.Repeat("08:00-09:00,", 200) + "08:00-09:00",
	} {
		if hours, err := ParseHours(text); err == nil {
			t.Errorf("%.40q is read as %v", text, hours)
		}
	}
}

func FuzzHours(f *testing.F) {
	for _, text := range []string{"Mon-Fri 08:00-19:00 Europe/Berlin", "Sat,Sun 22:00-06:00, 12:00-24:00 UTC", "00:00-24:00 America/New_York"} {
		f.Add(text, int64(1770000000))
	}
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		hours, err := ParseHours(text)
		if err != nil {
			return
		}
		again, err := ParseHours(hours.String())
		if err != nil || again.String() != hours.String() {
			t.Fatalf("%q is written %q, which is read as %v, %v", text, hours, again, err)
		}
		at := time.Unix(unix%4e9, 0)
		until, ok := hours.At(at)
		twin, okTwin := again.At(at)
		if ok != okTwin || !until.Equal(twin) {
			t.Fatalf("%q: %v %v, as %q: %v %v", text, until, ok, hours, twin, okTwin)
		}
		if ok && !until.IsZero() {
			if !until.After(at) {
				t.Fatalf("%q at %v: until %v", text, at, until)
			}
			if _, still := hours.At(until); still {
				t.Fatalf("%q at %v: still open at the end, %v", text, at, until)
			}
			if end, still := hours.At(until.Add(-time.Second)); !still || !end.Equal(until) {
				t.Fatalf("%q at %v: just before the end %v it is open %v until %v", text, at, until, still, end)
			}
		}
	})
}
