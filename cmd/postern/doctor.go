package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"postern/internal/server"
)

func newDoctorCommand() *cobra.Command {
	var file, format string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check everything that the gateway depends on, and say how to mend it",
		Long: "Check configuration, store, audit key, clock, certificate, recordings, objects, and each resource's\n" +
			"reachability and credentials. Run it as the gateway's user, on its machine; a running gateway isn't disturbed.",
		Example: "  postern doctor --config postern.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			findings := server.Examine(cmd.Context(), cfg, server.Options{MasterKey: secretFromEnv("POSTERN_MASTER_KEY")})
			if err := showFindings(cmd.OutOrStdout(), format, findings); err != nil {
				return err
			}
			bad := 0
			for _, f := range findings {
				if !f.OK {
					bad++
				}
			}
			if bad > 0 {
				return fmt.Errorf("%d of %d checks found something to mend", bad, len(findings))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "the configuration `FILE`")
	cmd.Flags().StringVarP(&format, "output", "o", "table", "`FORMAT`: table or json")
	return cmd
}

func showFindings(w io.Writer, format string, findings []server.Finding) error {
	switch format {
	case "json":
		return json.NewEncoder(w).Encode(findings)
	case "table":
	default:
		return &usageError{err: errors.New("-o is table or json")}
	}
	for _, f := range findings {
		if f.OK {
			fmt.Fprintf(w, "ok    %s: %s\n", f.Check, f.Detail)
			continue
		}
		fmt.Fprintf(w, "MEND  %s: %s\n      hint: %s\n", f.Check, f.Detail, f.Mending)
	}
	return nil
}
