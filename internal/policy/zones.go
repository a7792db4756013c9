package policy

import (
	"fmt"
	"regexp"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// zones are the time zones that conditions name. CEL's own functions read the
// zone database anew each time they run; these read a zone once.
type zones struct{ known sync.Map } // string -> *time.Location

func (z *zones) find(name string) (*time.Location, error) {
	if known, ok := z.known.Load(name); ok {
		return known.(*time.Location), nil
	}
	location, err := parseZone(name)
	if err == nil {
		z.known.Store(name, location)
	}
	return location, err
}

// parseZone reads a zone's name, or an offset such as "+02:00".
func parseZone(name string) (*time.Location, error) {
	if regexp.MustCompile(`^[+-]?[0-9]{2}:[0-9]{2}$`).MatchString(name) {
		text := name
		if text[0] != '+' && text[0] != '-' {
			text = "+" + text
		}
		t, err := time.Parse("-07:00", text)
		if err != nil {
			return nil, fmt.Errorf("%s is no time zone", shown(name))
		}
		_, offset := t.Zone()
		return time.FixedZone(name, offset), nil
	}
	location, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, fmt.Errorf("%s is no time zone; expected one like Europe/Berlin", shown(name))
	}
	return location, nil
}

// clock is one of CEL's functions that take a moment apart in a time zone.
type clock struct {
	name, overload string
	get            func(time.Time) int
}

func clocks() []clock {
	return []clock{
		{overloads.TimeGetFullYear, overloads.TimestampToYearWithTz, time.Time.Year},
		{overloads.TimeGetMonth, overloads.TimestampToMonthWithTz, func(t time.Time) int { return int(t.Month()) - 1 }},
		{overloads.TimeGetDayOfYear, overloads.TimestampToDayOfYearWithTz, func(t time.Time) int { return t.YearDay() - 1 }},
		{overloads.TimeGetDayOfMonth, overloads.TimestampToDayOfMonthZeroBasedWithTz, func(t time.Time) int { return t.Day() - 1 }},
		{overloads.TimeGetDate, overloads.TimestampToDayOfMonthOneBasedWithTz, time.Time.Day},
		{overloads.TimeGetDayOfWeek, overloads.TimestampToDayOfWeekWithTz, func(t time.Time) int { return int(t.Weekday()) }},
		{overloads.TimeGetHours, overloads.TimestampToHoursWithTz, time.Time.Hour},
		{overloads.TimeGetMinutes, overloads.TimestampToMinutesWithTz, time.Time.Minute},
		{overloads.TimeGetSeconds, overloads.TimestampToSecondsWithTz, time.Time.Second},
		{overloads.TimeGetMilliseconds, overloads.TimestampToMillisecondsWithTz, func(t time.Time) int { return t.Nanosecond() / 1e6 }},
	}
}

// options are CEL's standard library with our clocks in place of its own.
func (z *zones) options() []cel.EnvOption {
	without := env.NewLibrarySubset()
	var ours []cel.EnvOption
	for _, c := range clocks() {
		without.AddExcludedFunctions(env.NewFunction(c.name, &env.Overload{ID: c.overload}))
		ours = append(ours, cel.Function(c.name, cel.MemberOverload(c.overload,
			[]*cel.Type{cel.TimestampType, cel.StringType}, cel.IntType, cel.BinaryBinding(func(moment, zone ref.Val) ref.Val {
				t, ok := moment.(types.Timestamp)
				name, okName := zone.(types.String)
				if !ok || !okName {
					return types.MaybeNoSuchOverloadErr(moment)
				}
				location, err := z.find(string(name))
				if err != nil {
					return types.WrapErr(err)
				}
				return types.Int(c.get(t.In(location)))
			}))))
	}
	return append([]cel.EnvOption{cel.StdLib(cel.StdLibSubset(without))}, ours...)
}

// check finds zones that are written in a condition and don't exist.
func (z *zones) check(ast *cel.Ast) []mistake {
	var found []mistake
	native := ast.NativeRep()
	celast.PreOrderVisit(native.Expr(), celast.NewExprVisitor(func(e celast.Expr) {
		if e.Kind() != celast.CallKind || len(e.AsCall().Args()) != 1 || !e.AsCall().IsMemberFunction() {
			return
		}
		arg := e.AsCall().Args()[0]
		for _, c := range clocks() {
			if c.name != e.AsCall().FunctionName() || arg.Kind() != celast.LiteralKind {
				continue
			}
			if name, ok := arg.AsLiteral().(types.String); ok {
				if _, err := z.find(string(name)); err != nil {
					found = append(found, mistake{max(native.SourceInfo().GetStartLocation(arg.ID()).Line(), 1), err.Error()})
				}
			}
		}
	}))
	return found
}
