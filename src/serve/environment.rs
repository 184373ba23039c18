//! The environment as compose files, Kubernetes and hosting platforms leave it, made fit for the settings.
//!
//! | found | read as |
//! |---|---|
//! | a variable that is set to nothing | not set (compose makes such of what its user did not set); API keys are refused |
//! | `IMDB_SENTIMENT_PORT=tcp://…` and its kin | not set: Kubernetes writes them for a Service called `imdb-sentiment` |
//! | `PORT`, where `IMDB_SENTIMENT_PORT` says nothing | the port (Cloud Run, Render, Railway) |
//! | `1`, `yes`, `on`, `0`, `no`, `off` for a switch | true, false |
//! | another `IMDB_SENTIMENT_…` | a slip of the pen, which is said |

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io::Write;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Args, Command, FromArgMatches, Parser, ValueEnum};

use super::observe::logging::{fatal, is_json};
use super::settings::{LogFormat, Settings};
use crate::error::{Error, Result};
use crate::kernel::KERNEL_VARIABLE;

/// What our variables begin with.
const PREFIX: &str = "IMDB_SENTIMENT_";
/// The port that hosting platforms name.
const PLATFORM_PORT: &str = "PORT";
/// Variables that must not be taken for absent when they are empty: the server would stand open.
const KEYS: [&str; 2] = ["IMDB_SENTIMENT_API_KEYS", "IMDB_SENTIMENT_API_KEYS_FILE"];
/// Longest name that is shown of a variable that we do not know.
const SHOWN_NAME: usize = 64;

/// What is to be said of the environment once the log is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// One line each.
    pub lines: Vec<String>,
    /// The variable for API keys that is set to nothing.
    empty_keys: Option<&'static str>,
}

impl Notes {
    /// Whether the server may start with `settings`.
    ///
    /// # Errors
    /// [`Error::Setting`] where API keys were to be read and there is none.
    pub fn check(&self, settings: &Settings) -> Result<()> {
        match self.empty_keys {
            Some(name) if settings.api_keys.is_empty() && settings.api_keys_file.is_none() => {
                Err(Error::setting(name, "it is set to nothing; give keys, or unset it to serve without any"))
            }
            _ => Ok(()),
        }
    }
}

/// The settings that a server started with `arguments` (its own name first) in this environment has; `None` where it would
/// not start.
pub fn settings_of(arguments: &[String]) -> Option<Settings> {
    let (command, _) =
        prepare(Settings::augment_args(Command::new("server")), &std::env::vars_os().collect());
    let matches = command.try_get_matches_from(arguments).ok()?;
    Settings::from_arg_matches(&matches).ok()
}

/// Reads command line and environment; ends the process where they cannot be read, as clap does.
pub fn parse<C: Parser>() -> (C, Notes) {
    let variables = std::env::vars_os().collect();
    let (command, notes) = prepare(C::command(), &variables);
    let mut origins = BTreeMap::new();
    let command = for_each_arg(command, &mut |arg| {
        if let (Some(long), Some(name)) = (arg.get_long(), arg.get_env()) {
            origins.insert(format!("--{long}"), name.to_string_lossy().into_owned());
        }
        arg
    });
    let parsed = command.try_get_matches().and_then(|matches| C::from_arg_matches(&matches));
    let cli = parsed.unwrap_or_else(|error| {
        let flag = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(argument)) => argument.split([' ', '=']).next().unwrap_or_default(),
            _ => "",
        };
        let given = std::env::args().any(|text| text.split('=').next() == Some(flag));
        let origin = origins.get(flag);
        refuse(&error, origin.filter(|name| !given && variables.contains_key(OsStr::new(name.as_str()))))
    });
    (cli, notes)
}

/// Ends the process with what `error` says: help and the like as they are, a fault in the form of the log, with the name of
/// the variable that it came from.
fn refuse(error: &clap::Error, variable: Option<&String>) -> ! {
    let format = log_format();
    if !error.use_stderr() || !is_json(format) {
        let _ = error.print();
        if let Some(name) = variable {
            let _ = writeln!(std::io::stderr(), "The value comes from the environment variable {name}.");
        }
        std::process::exit(error.exit_code());
    }
    let text = error.render().to_string();
    let text = text.split("\n\nFor more information").next().unwrap_or_default();
    let mut reason = text.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some(name) = variable {
        reason += &format!("; the value comes from the environment variable {name}");
    }
    fatal(format, &reason);
    std::process::exit(error.exit_code())
}

/// The form of the log as far as it can be told where the settings cannot be read.
fn log_format() -> LogFormat {
    let arguments: Vec<String> = std::env::args().collect();
    let given = arguments.iter().enumerate().find_map(|(at, text)| match text.strip_prefix("--log-format") {
        Some("") => arguments.get(at + 1).cloned(),
        Some(rest) => rest.strip_prefix('=').map(String::from),
        None => None,
    });
    let given = given.or_else(|| std::env::var("IMDB_SENTIMENT_LOG_FORMAT").ok());
    given.and_then(|name| LogFormat::from_str(&name, false).ok()).unwrap_or(LogFormat::Auto)
}

/// Yes or no, as people write it.
fn boolean(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Ok(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Ok(false),
        _ => Err("write yes or no (or 1 or 0, true or false, on or off)".into()),
    }
}

/// `command` with each setting bound to what `variables` mean by it.
fn prepare(command: Command, variables: &BTreeMap<OsString, OsString>) -> (Command, Notes) {
    let mut notes = Notes::default();
    let mut known = BTreeSet::from([KERNEL_VARIABLE.to_string()]);
    let get = |name: &str| variables.get(OsStr::new(name));
    let port = get(PLATFORM_PORT).filter(|value| !is_blank(value) && !is_address(value));
    let command = for_each_arg(command, &mut |arg| {
        let arg = match arg.get_action() {
            ArgAction::SetTrue => arg.value_parser(boolean),
            _ => arg,
        };
        let Some(name) = arg.get_env().map(|name| name.to_string_lossy().into_owned()) else { return arg };
        known.insert(name.clone());
        let is_port = name == "IMDB_SENTIMENT_PORT";
        match get(&name) {
            Some(value) if !(is_blank(value) || is_port && is_address(value)) => arg,
            _ if is_port && port.is_some() => arg.env(PLATFORM_PORT),
            Some(_) => arg.env(None),
            None => arg,
        }
    });
    notes.empty_keys = KEYS.into_iter().find(|name| get(name).is_some_and(|value| is_blank(value)));
    let mut services = false;
    for (name, value) in variables {
        let name = name.to_string_lossy();
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        if is_service(rest, value) {
            services = true;
        } else if !known.contains(&*name) && !is_blank(value) {
            let shown: String = name.chars().take(SHOWN_NAME).flat_map(char::escape_default).collect();
            notes
                .lines
                .push(format!("environment: {shown} is no setting and changes nothing; see server --help"));
        }
    }
    if services {
        notes.lines.push(
            "environment: the IMDB_SENTIMENT_… variables that Kubernetes sets for a Service of this name are ignored; \
             enableServiceLinks: false keeps them away"
                .into(),
        );
    }
    (command, notes)
}

/// Whether Kubernetes or Docker's links wrote the variable `IMDB_SENTIMENT_{rest}` for a service whose name begins so:
/// `…SERVICE_HOST`, `…SERVICE_PORT`, `…PORT=tcp://…`, `…PORT_3000_TCP_ADDR`.
fn is_service(rest: &str, value: &OsStr) -> bool {
    let marked = |marker: &str| rest.starts_with(marker) || rest.contains(&format!("_{marker}"));
    let port_of_protocol = || {
        let after = rest.strip_prefix("PORT_").or_else(|| rest.split_once("_PORT_").map(|(_, after)| after));
        let protocol = after.map(|after| after.trim_start_matches(|c: char| c.is_ascii_digit()));
        protocol.is_some_and(|text| ["_TCP", "_UDP", "_SCTP"].iter().any(|name| text.starts_with(name)))
    };
    marked("SERVICE_HOST")
        || marked("SERVICE_PORT")
        || rest.ends_with("PORT") && is_address(value)
        || port_of_protocol()
}

fn is_address(value: &OsStr) -> bool {
    let value = value.to_string_lossy();
    ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.trim_start().starts_with(scheme))
}

fn is_blank(value: &OsStr) -> bool {
    value.to_str().is_some_and(|value| value.trim().is_empty())
}

/// `command` with every argument changed by `change`, those of subcommands included.
fn for_each_arg(command: Command, change: &mut dyn FnMut(Arg) -> Arg) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_string()).collect();
    let command = command.mut_args(&mut *change);
    names
        .into_iter()
        .fold(command, |command, name| command.mut_subcommand(name, |sub| for_each_arg(sub, change)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of `variables`; that they are read as promised is seen in `tests/environment.rs`, in a process of its own.
    fn notes(variables: &[(&str, &str)]) -> Notes {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        prepare(Settings::augment_args(Command::new("server")), &variables).1
    }

    #[test]
    fn what_kubernetes_sets_for_a_service_is_said_once() {
        let notes = notes(&[
            ("IMDB_SENTIMENT_PORT", "tcp://10.96.0.5:3000"),
            ("IMDB_SENTIMENT_PORT_3000_TCP", "tcp://10.96.0.5:3000"),
            ("IMDB_SENTIMENT_PORT_3000_TCP_ADDR", "10.96.0.5"),
            ("IMDB_SENTIMENT_PORT_3000_TCP_PORT", "3000"),
            ("IMDB_SENTIMENT_PORT_3000_TCP_PROTO", "tcp"),
            ("IMDB_SENTIMENT_SERVICE_HOST", "10.96.0.5"),
            ("IMDB_SENTIMENT_SERVICE_PORT", "3000"),
            ("IMDB_SENTIMENT_SERVICE_PORT_HTTP", "3000"),
            ("IMDB_SENTIMENT_CANARY_PORT", "tcp://10.96.0.6:3000"),
            ("IMDB_SENTIMENT_CANARY_PORT_80_TCP_ADDR", "10.96.0.6"),
            ("IMDB_SENTIMENT_CANARY_SERVICE_HOST", "10.96.0.6"),
        ]);
        assert_eq!(notes.lines.len(), 1, "{notes:?}");
        assert!(notes.lines[0].contains("enableServiceLinks"));
    }

    #[test]
    fn a_slip_of_the_pen_is_said_without_its_value() {
        let notes = notes(&[
            ("IMDB_SENTIMENT_API_KEY", "hush"),
            ("IMDB_SENTIMENT_KERNEL", "avx2"),
            ("IMDB_SENTIMENT_HOST", "0.0.0.0"),
            ("IMDB_SENTIMENT_OLD", ""),
        ]);
        assert_eq!(notes.lines.len(), 1, "{notes:?}");
        assert!(notes.lines[0].contains("IMDB_SENTIMENT_API_KEY ") && !notes.lines[0].contains("hush"));
    }
}
