package policy

// Parse reads the objects in a file of YAML documents. It reports all of the
// file's problems at once, each as "file:line: …".
func Parse(file string, data []byte) ([]Object, error) { return nil, nil }
