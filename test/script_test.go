package test

import (
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs testdata/*.txtar. Besides testscript's own commands:
//
//	as NAME               become a person of postern.yaml, or service:NAME
//	postern ARGS…         the binary, as whoever `as` says
//	psql ARGS…            the stock client through the gateway, as whoever `as` says
//	direct SQL            run SQL past the gateway, as the upstream's superuser
//	until CMD ARGS…       try again until the command succeeds, for 10 seconds
//	kill9, restart, hup   what happens to the gateway
//	key NAME              a service account's fresh key, remembered for `as service:NAME`
func TestScripts(t *testing.T) {
	cluster.Get(t)
	var gateways sync.Map // of *gateway, by the script's folder
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       false,
		Setup: func(env *testscript.Env) error {
			tb, ok := env.T().(testing.TB)
			if !ok {
				return fmt.Errorf("not under go test")
			}
			g := newGateway(tb, "")
			g.start()
			gateways.Store(env.WorkDir, g)
			env.Vars = append(env.Vars, g.environ("")...)
			env.Setenv("DIR", g.dir)
			return nil
		},
		Cmds: commands(&gateways),
	})
}

func commands(gateways *sync.Map) map[string]func(*testscript.TestScript, bool, []string) {
	of := func(ts *testscript.TestScript) *gateway {
		g, _ := gateways.Load(ts.Getenv("WORK"))
		return g.(*gateway) // made in Setup
	}
	var keys sync.Map // of strings, by the gateway's folder and a name
	run := func(ts *testscript.TestScript, neg bool, name string, args []string) {
		err := ts.Exec(name, args...)
		switch {
		case err != nil && !neg:
			ts.Fatalf("%s: %v", name, err)
		case err == nil && neg:
			ts.Fatalf("%s succeeded, and should not have", name)
		}
	}
	return map[string]func(*testscript.TestScript, bool, []string){
		"as": func(ts *testscript.TestScript, _ bool, args []string) {
			g := of(ts)
			if name, ok := strings.CutPrefix(args[0], "service:"); ok {
				key, _ := keys.Load(g.dir + name)
				text, _ := key.(string)
				ts.Setenv("POSTERN_TOKEN", text)
				ts.Setenv("PGUSER", name)
				return
			}
			ts.Setenv("POSTERN_TOKEN", g.login(args[0]))
			ts.Setenv("PGUSER", args[0])
		},
		"key": func(ts *testscript.TestScript, _ bool, args []string) {
			g := of(ts)
			out, err := g.run(bootstrapKey, "service-account", "rotate", args[0], "-o", "json")
			if err != nil {
				ts.Fatalf("%v", err)
			}
			_, rest, _ := strings.Cut(out, `"key"`)
			_, rest, _ = strings.Cut(rest, `"`)
			key, _, ok := strings.Cut(rest, `"`)
			if !ok {
				ts.Fatalf("no key in %s", out)
			}
			keys.Store(g.dir+args[0], key)
		},
		"postern": func(ts *testscript.TestScript, neg bool, args []string) { run(ts, neg, of(ts).program, args) },
		"psql": func(ts *testscript.TestScript, neg bool, args []string) {
			token, err := of(ts).run(ts.Getenv("POSTERN_TOKEN"), "token", "orders-db")
			if err != nil {
				ts.Fatalf("%v", err)
			}
			ts.Setenv("PGPASSWORD", token)
			run(ts, neg, "psql", append([]string{"-X", "-v", "ON_ERROR_STOP=1"}, args...))
		},
		"direct": func(ts *testscript.TestScript, _ bool, args []string) {
			g := of(ts)
			for _, row := range g.upstream.Exec(g.t, g.database, args[0]) {
				fmt.Fprintln(ts.Stdout(), strings.Join(row, "|"))
			}
		},
		"until": func(ts *testscript.TestScript, _ bool, args []string) {
			deadline := time.Now().Add(30 * time.Second)
			for {
				cmd := exec.Command(args[0], args[1:]...)
				if args[0] == "postern" {
					cmd.Path = of(ts).program
					cmd.Err = nil
				}
				cmd.Env = append(of(ts).environ(ts.Getenv("POSTERN_TOKEN")), "DIR="+of(ts).dir, "POSTERN="+of(ts).program)
				cmd.Dir = ts.Getenv("WORK")
				out, err := cmd.CombinedOutput()
				fmt.Fprintf(ts.Stdout(), "%s", out)
				if err == nil {
					return
				}
				if time.Now().After(deadline) {
					ts.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
				}
				time.Sleep(50 * time.Millisecond) // polling another process; the wait ends by the event or fails
			}
		},
		"kill9":   func(ts *testscript.TestScript, _ bool, _ []string) { of(ts).kill() },
		"restart": func(ts *testscript.TestScript, _ bool, _ []string) { of(ts).stop(); of(ts).start() },
		"put": func(ts *testscript.TestScript, _ bool, args []string) {
			of(ts).write(args[0], ts.ReadFile(args[1]))
		},
		"logged": func(ts *testscript.TestScript, neg bool, args []string) {
			deadline := time.Now().Add(10 * time.Second)
			for !strings.Contains(of(ts).logged(), args[0]) {
				if neg {
					return
				}
				if time.Now().After(deadline) {
					ts.Fatalf("the gateway did not log %q:\n%s", args[0], of(ts).logged())
				}
				time.Sleep(20 * time.Millisecond) // polling another process
			}
			if neg {
				ts.Fatalf("the gateway logged %q", args[0])
			}
		},
	}
}
