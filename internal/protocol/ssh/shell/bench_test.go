package shell

import "testing"

func BenchmarkAnalyse(b *testing.B) {
	for name, text := range map[string]string{
		"short": "ls -la /srv/app",
		"pipe":  `journalctl -u nginx --since "1 hour ago" | grep -i error | awk '{print $1}' | sort | uniq -c | sort -rn | head`,
		"loop":  `for f in /var/log/*.log; do if [ -s "$f" ]; then gzip -c "$f" > "/tmp/$(basename "$f").gz"; fi; done`,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Analyse(text, State{})
			}
		})
	}
}
