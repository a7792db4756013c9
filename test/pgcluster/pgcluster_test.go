package pgcluster_test

import (
	"os"
	"testing"

	"postern/test/pgcluster"
)

func TestCluster(t *testing.T) {
	c := pgcluster.Start(t, pgcluster.Options{TLS: true, Settings: []string{"work_mem=5MB"}})
	rows := c.Exec(t, "postgres", "select 1; select current_setting('work_mem'), current_setting('ssl'), null")
	if len(rows) != 1 || rows[0][0] != "5MB" || rows[0][1] != "on" || rows[0][2] != "" {
		t.Errorf("rows = %q", rows)
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(c.Dir); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestShared(t *testing.T) {
	var shared pgcluster.Shared
	one, two := shared.Get(t), shared.Get(t)
	if one != two {
		t.Error("two servers for one package")
	}
	if err := shared.Stop(); err != nil {
		t.Error(err)
	}
}
