//! What a setting may be.

use std::path::PathBuf;
use std::time::Duration;

/// A value that is never shown, whatever prints the settings.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Secret {
    /// Whether a header can carry it; the reason where it cannot.
    pub fn check(&self) -> Result<(), String> {
        // The grammar of RFC 6750's b64token is narrower; a visible ASCII word is what a header can carry.
        if self.0.is_empty() || !self.0.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a key must be one word of visible ASCII characters".into());
        }
        Ok(())
    }
}

impl std::str::FromStr for Secret {
    // Takes anything: the command line would show a value that is refused here.
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.trim().into()))
    }
}

/// A model directory and, where it is not to be called by the directory's own name, its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSource {
    /// The name given, if any.
    pub name: Option<String>,
    /// The directory.
    pub directory: PathBuf,
}

impl ModelSource {
    /// The directory `directory` under its own name.
    pub fn directory(directory: impl Into<PathBuf>) -> Self {
        Self { name: None, directory: directory.into() }
    }

    /// The directory `directory` under the name `name`.
    pub fn named(name: impl Into<String>, directory: impl Into<PathBuf>) -> Self {
        Self { name: Some(name.into()), directory: directory.into() }
    }
}

impl std::str::FromStr for ModelSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let source = match text.split_once('=') {
            Some((name, directory)) => {
                check_model_name(name)?;
                Self::named(name, directory)
            }
            None => Self::directory(text),
        };
        if source.directory.as_os_str().is_empty() {
            return Err("the directory is missing".into());
        }
        Ok(source)
    }
}

/// Whether `name` can stand in a path, a label and a JSON answer without quoting; the reason where it cannot.
pub fn check_model_name(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
        return Err(format!("model name `{name}`: use 1 to 64 of A-Z a-z 0-9 - _ ."));
    }
    Ok(())
}

/// A span of time with its unit, such as `250ms`.
pub(super) fn duration_or_zero(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number
        .parse()
        .map_err(|_| "write a number and a unit: 500us, 250ms, 10s, 5m; a number alone is seconds")?;
    let seconds = match unit.trim() {
        "us" | "µs" => number / 1e6,
        "ms" => number / 1e3,
        "s" | "" => number,
        "m" | "min" => number * 60.0,
        other => return Err(format!("unknown unit `{other}`: use us, ms, s or m")),
    };
    // Timers are asked for moments in the future; a day is beyond any sensible wait.
    if !(0.0..=86_400.0).contains(&seconds) {
        return Err("it must lie between 0 and 24 hours".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// As [`duration_or_zero`], and not 0.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match duration_or_zero(text)? {
        Duration::ZERO => Err("it must be more than 0".into()),
        duration => Ok(duration),
    }
}

fn number_between<T>(text: &str, low: T, high: T) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    match text.parse() {
        Ok(value) if value >= low && value <= high => Ok(value),
        _ => Err(format!("it must be a number from {low} to {high}")),
    }
}

/// A number from 1 on.
pub(super) fn positive(text: &str) -> Result<usize, String> {
    number_between(text, 1, usize::MAX)
}

/// A port.
pub(super) fn port(text: &str) -> Result<u16, String> {
    number_between(text, 0, u16::MAX)
}

/// A number of threads, 0 for one per core.
pub(super) fn threads(text: &str) -> Result<usize, String> {
    number_between(text, 0, 1024)
}

/// A number from 0 to 1.
pub(super) fn share(text: &str) -> Result<f64, String> {
    number_between(text, 0.0, 1.0)
}

/// A score of a label.
pub(super) fn abstain(text: &str) -> Result<f32, String> {
    // Compared before it is rounded to 32 bits.
    number_between(text, 0.5, 1.0).map(|least: f64| least as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration_or_zero("0"), Ok(Duration::ZERO));
        assert!(duration("0s").is_err());
        assert!(duration("soon").is_err());
        assert!(duration("3 weeks").unwrap_err().contains("unknown unit"));
    }

    #[test]
    fn models_are_named_or_not() {
        assert_eq!("a=models/x".parse(), Ok(ModelSource::named("a", "models/x")));
        assert_eq!("models/x".parse(), Ok(ModelSource::directory("models/x")));
        assert!("a b=models/x".parse::<ModelSource>().is_err());
        assert!("a=".parse::<ModelSource>().is_err());
    }
}
