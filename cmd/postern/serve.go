package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"postern"
	"postern/internal/config"
	"postern/internal/server"
)

func newServeCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: "Run the gateway until SIGINT or SIGTERM, then let live sessions end for drain_timeout.\n" +
			"SIGHUP reads the objects again. The configuration is POSTERN_CONFIG's file when --config isn't given.",
		Example: "  postern serve --config postern.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			log := newLog(cmd, cfg.Log)
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			s, err := server.New(ctx, cfg, server.Options{
				Version: version(), Log: log,
				MasterKey: secretFromEnv("POSTERN_MASTER_KEY"), BootstrapKey: secretFromEnv("POSTERN_BOOTSTRAP_KEY"),
			})
			if err != nil {
				return err
			}
			reload, ignore := onHangup(ctx)
			defer ignore()
			return s.Run(ctx, reload)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "the configuration `FILE`; without one, every key has its default")
	return cmd
}

// secretFromEnv takes a secret out of the environment, so that no child of this
// process gets it. The environment that the process was started with stays
// readable to its own user and to root, in /proc.
func secretFromEnv(name string) postern.Secret {
	secret := postern.NewSecret(os.Getenv(name))
	_ = os.Unsetenv(name) // fails for names with '=' only
	return secret
}

func loadConfig(file string) (config.Config, error) {
	if file == "" {
		file = os.Getenv("POSTERN_CONFIG")
	}
	if file == "" {
		return config.Default(), nil
	}
	return config.Load(file)
}

func newLog(cmd *cobra.Command, c config.Log) *slog.Logger {
	level := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}[c.Level]
	options := &slog.HandlerOptions{Level: level}
	if strings.EqualFold(c.Format, "json") {
		return slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), options))
	}
	return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), options))
}

// onHangup tells of each SIGHUP until ctx ends. Several at once count as one.
func onHangup(ctx context.Context) (<-chan struct{}, func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	reload := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-signals:
				select {
				case reload <- struct{}{}:
				default:
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return reload, func() {
		signal.Stop(signals)
		cancel()
		<-done
	}
}
