package postgres

// catalogs keeps what is known of the databases behind the gateway, one entry
// for each database of each resource. It is safe for concurrent use.
type catalogs struct{}

// newCatalogs returns an empty catalogs.
func newCatalogs() *catalogs { return &catalogs{} }
