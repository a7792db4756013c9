package recording

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// How much of a value the transcript shows. The recording, and its export,
// hold more.
const (
	maxCell  = 40
	maxParam = 200
)

// safe makes text harmless on a terminal: what isn't printable, the control
// characters, the characters that reverse or hide text, bytes that are no
// UTF-8, is written as an escape.
func safe(s string) string { return escape(s, false) }

// safeLines is safe, but keeps line ends, and shows tabs as spaces.
func safeLines(s string) string { return escape(strings.TrimRight(s, "\r\n"), true) }

func escape(s string, lines bool) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case lines && r == '\n':
			b.WriteByte('\n')
		case lines && r == '\t':
			b.WriteString("    ")
		case lines && r == '\r' && strings.HasPrefix(s[i:], "\r\n"):
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == ' ' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}

// clip shortens text to n characters.
func clip(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i] + "…"
		}
		n--
	}
	return s
}

// table lays out rows below their columns.
func table(columns []string, rows [][]*string) string {
	width := len(columns)
	for _, row := range rows {
		width = max(width, len(row))
	}
	lines := make([][]string, 0, len(rows)+1)
	head := make([]string, width)
	for i, c := range columns {
		head[i] = safe(clip(c, maxCell))
	}
	lines = append(lines, head)
	for _, row := range rows {
		cells := make([]string, width)
		for i, v := range row {
			cells[i] = "NULL"
			if v != nil {
				cells[i] = safe(clip(*v, maxCell))
			}
		}
		lines = append(lines, cells)
	}
	widths := make([]int, width)
	for _, cells := range lines {
		for i, c := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	for n, cells := range lines {
		var line strings.Builder
		for i, c := range cells {
			fmt.Fprintf(&line, "  %-*s", widths[i], c)
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		if n == 0 {
			b.WriteString("\n")
			for _, w := range widths {
				b.WriteString("  " + strings.Repeat("-", w))
			}
		}
		if n < len(lines)-1 {
			b.WriteByte('\n')
		}
	}
	return b.String()
}
