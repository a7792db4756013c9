package shell

import "strings"

// pythonPrints says whether code of Python does nothing but compute and print.
// It knows a handful of words and nothing else: whatever could reach further
// needs a name that isn't among them.
func pythonPrints(code string, imports bool) bool {
	for i := 0; i < len(code); {
		c := code[i]
		switch {
		case c == '"' || c == '\'':
			end := pythonString(code, i)
			if end < 0 {
				return false
			}
			i = end
		case isName(string(c)):
			j := i
			for j < len(code) && (isName(string(code[j])) || code[j] >= '0' && code[j] <= '9') {
				j++
			}
			if !pythonWord(code[i:j]) || code[i:j] == "import" && !imports || j < len(code) && (code[j] == '"' || code[j] == '\'') { // f"…", b"…"
				return false
			}
			i = j
		case c == ' ' || c >= '0' && c <= '9' || strings.IndexByte("()[]{}.,:;+-*/%=<>!\n\t", c) >= 0:
			i++
		default:
			return false
		}
	}
	return true
}

// pythonString finds the end of a plain string; one in three quotes isn't.
func pythonString(code string, i int) int {
	quote := code[i]
	for i++; i < len(code); i++ {
		switch code[i] {
		case '\\':
			i++
		case quote:
			if i+1 < len(code) && code[i+1] == quote {
				return -1
			}
			return i + 1
		case '\n':
			return -1
		}
	}
	return -1
}

func pythonWord(w string) bool {
	switch w {
	case "print", "len", "str", "int", "float", "sorted", "sum", "min", "max", "range", "list", "dict", "set", "tuple", "enumerate", "zip", "abs", "round", "bool", "reversed", "any", "all",
		"import", "json", "sys", "time", "math", "datetime", "stdin", "load", "loads", "dumps", "read", "readline", "readlines", "argv", "version", "split", "strip", "join", "upper", "lower", "keys", "values", "items", "get", "append", "replace", "startswith", "endswith", "count", "now", "utcnow", "isoformat",
		"for", "in", "if", "else", "elif", "and", "or", "not", "True", "False", "None", "pass", "is", "pi", "sqrt", "indent", "sort_keys", "sep", "end",
		"a", "b", "c", "d", "e", "i", "j", "k", "l", "n", "r", "s", "t", "v", "x", "y", "z", "line", "row", "item", "key", "value", "data", "obj", "result", "total", "name":
		return true
	}
	return false
}
