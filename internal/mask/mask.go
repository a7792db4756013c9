// Package mask replaces values that must not reach a client: by the column
// they come from, and by what they look like. It is pure, and works on one
// field or one piece of text at a time.
//
// A masked value keeps its type: what can't be masked within it becomes NULL.
// Whatever this package doesn't know — a style, a detector, a form of value —
// is masked in the strongest way there is.
//
// What values look like is known in the folder detect.
package mask

import "postern/internal/mask/detect"

// DetectorInfo names one detector for masks, with a sentence on what it finds.
type DetectorInfo = detect.Info

// Detectors lists the names that [postern.Mask.Detect] may hold.
func Detectors() []DetectorInfo { return detect.All() }
