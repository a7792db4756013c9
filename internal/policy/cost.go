package policy

import (
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// textCost says what calls on texts cost, by their length in bytes. CEL's own
// reckoning counts the characters of both texts first, at every call: over a
// text of a megabyte that takes a thousand times as long as the call itself.
type textCost struct{}

// bytesPerUnit are compared or copied for one unit of cost.
const bytesPerUnit = 10

// CallCost implements CEL's ActualCostEstimator; nil leaves a call to CEL.
func (textCost) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	var total, shortest, texts uint64
	for _, arg := range args {
		if s, ok := arg.(types.String); ok {
			n := uint64(len(s))
			if texts == 0 || n < shortest {
				shortest = n
			}
			total += n
			texts++
		}
	}
	if texts == 0 {
		return nil
	}
	cost := 1 + total/bytesPerUnit
	switch function {
	case operators.In, operators.Index:
		return nil // of lists and maps
	case operators.Equals, operators.NotEquals:
		if texts == 2 && total != 2*shortest {
			cost = 1 // of different lengths: nothing is compared
		}
	case overloads.StartsWith, overloads.EndsWith:
		cost = 1 + shortest/bytesPerUnit
	case overloads.Matches:
		if pattern, ok := args[len(args)-1].(types.String); ok {
			cost = (1 + total/bytesPerUnit) * (1 + uint64(len(pattern))/4)
		}
	}
	return &cost
}
