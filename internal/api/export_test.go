package api

import "maps"

// Rights is the table of rights, each as its description has it.
func Rights() map[string]string {
	table := map[string]string{}
	for route, r := range maps.All(rights()) {
		table[route] = r.describe()
	}
	return table
}

// Routes are the routes that an API registers.
func Routes(cfg Config) ([]string, error) {
	a, err := newAPI(cfg)
	if err != nil {
		return nil, err
	}
	a.mux()
	return a.routes, nil
}
