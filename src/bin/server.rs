//! `server`: serves a model over HTTP.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use imdb_sentiment::kernel::Isa;
use imdb_sentiment::serve::{Settings, healthcheck, openapi_yaml, run};

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
    /// Ask a running server whether it is ready: exit code 0 if so (for a container's HEALTHCHECK)
    Healthcheck {
        /// Address or host name that the server listens on
        #[arg(long, env = "IMDB_SENTIMENT_HOST", default_value = "127.0.0.1")]
        host: String,
        /// Port that the server listens on
        #[arg(long, env = "IMDB_SENTIMENT_PORT", default_value_t = 3000)]
        port: u16,
        /// The server's certificate, where it has one: asks by TLS, whatever the certificate says
        #[arg(long, env = "IMDB_SENTIMENT_TLS_CERT", value_name = "FILE")]
        tls_cert: Option<std::path::PathBuf>,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        None => Isa::from_environment()
            .map_err(|error| error.to_string())
            .and_then(|_| run(cli.settings).map_err(|error| error.to_string())),
        Some(Command::Openapi) => {
            print!("{}", openapi_yaml());
            Ok(())
        }
        Some(Command::Healthcheck { host, port, tls_cert }) => healthcheck(&host, port, tls_cert.is_some()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}
