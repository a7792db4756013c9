package policy

// Render is the object's canonical YAML: every key in its fixed place, defaults
// left out. It holds references to secrets, never a secret.
func (o Object) Render() []byte { return nil }
