//! `server`: serves a model over HTTP.

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use imdb_sentiment::kernel::Isa;
use imdb_sentiment::serve::{
    LogFormat, Settings, Target, environment, fatal, healthcheck, openapi_yaml, run,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Tells over HTTP how positive a film review is
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Print the OpenAPI description of the service
    Openapi,
    /// Print completions for a shell: `server completions bash > /etc/bash_completion.d/server`
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page: `server man > /usr/local/share/man/man1/server.1`
    Man,
    /// Ask a running server whether it is ready: exit code 0 if so (for a container's HEALTHCHECK)
    Healthcheck {
        /// Address or host name that the server listens on; without this and --port the running server is looked for
        #[arg(long)]
        host: Option<String>,
        /// Port that the server listens on
        #[arg(long)]
        port: Option<u16>,
        /// The server's certificate, where it has one: asks by TLS, whatever the certificate says
        #[arg(long, value_name = "FILE")]
        tls_cert: Option<std::path::PathBuf>,
        /// Unix socket that the server listens on
        #[arg(long, value_name = "PATH", conflicts_with_all = ["host", "port"])]
        uds: Option<std::path::PathBuf>,
        /// Ask only whether it is alive: also while it stops, or a model failed its self-test
        #[arg(long)]
        live: bool,
    },
}

fn main() -> ExitCode {
    let (cli, notes): (Cli, _) = environment::parse();
    let log_format = match cli.command {
        None => cli.settings.log_format,
        // For people.
        Some(_) => LogFormat::Text,
    };
    let outcome = match cli.command {
        None => Isa::from_environment()
            .map_err(|error| error.to_string())
            .and_then(|_| run(cli.settings, &notes).map_err(|error| error.to_string())),
        Some(Command::Openapi) => std::io::stdout()
            .write_all(openapi_yaml().as_bytes())
            .map_err(|error| format!("standard output: {error}")),
        Some(Command::Completions { shell }) => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "server", &mut text);
            std::io::stdout().write_all(&text).map_err(|error| format!("standard output: {error}"))
        }
        Some(Command::Man) => {
            let page = clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout());
            page.map_err(|error| format!("standard output: {error}"))
        }
        Some(Command::Healthcheck { host, port, tls_cert, uds, live }) => {
            let found = Target::find(host.is_some(), port);
            let tls = tls_cert.is_some() || found.tls;
            let (host, uds) = (host.unwrap_or(found.host), uds.or(found.uds));
            healthcheck(&Target { host, tls, uds, ..found }, live)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            fatal(log_format, &reason);
            ExitCode::FAILURE
        }
    }
}
