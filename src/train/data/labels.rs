//! What labels mean: words, 0 and 1, torchtext's 1 and 2, stars; told by all the labels of an input together, or by flags.

use std::collections::{BTreeMap, BTreeSet};

use super::reader::short;

/// Labels beyond this number are no classes.
const MOST: usize = 1000;

/// Which labels are positive, which negative, where they do not tell by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct LabelArgs {
    /// Labels that are positive, comma-separated, such as 4,5; all that neither flag names are left out.
    #[arg(long, value_name = "LABELS", value_delimiter = ',', requires = "negative")]
    pub positive: Vec<String>,
    /// Labels that are negative, such as 1,2.
    #[arg(long, value_name = "LABELS", value_delimiter = ',', requires = "positive")]
    pub negative: Vec<String>,
}

/// The labels that an input has been seen to hold, with how often.
#[derive(Clone, Debug, Default)]
pub struct Seen(BTreeMap<String, u64>);

impl Seen {
    /// Takes note of a label.
    ///
    /// # Errors
    /// The reason in words where there are too many for classes.
    pub fn note(&mut self, label: &str) -> Result<(), String> {
        if let Some(count) = self.0.get_mut(label) {
            *count += 1;
        } else if self.0.len() == MOST {
            return Err(format!(
                "more than {MOST} different labels, `{}` one of them; --label-column names another column",
                short(label)
            ));
        } else {
            self.0.insert(label.to_string(), 1);
        }
        Ok(())
    }

    /// How often each label stands for what, in words.
    pub fn counts(&self, rule: &Labels) -> (u64, u64, u64) {
        let sum = |wanted: Option<f32>| -> u64 {
            self.0.iter().filter(|(label, _)| rule.target(label) == wanted).map(|(_, count)| count).sum()
        };
        (sum(Some(1.0)), sum(Some(0.0)), sum(None))
    }
}

/// What each label of an input means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    positive: BTreeSet<String>,
    negative: BTreeSet<String>,
    /// Labels that a flag names and no row has.
    pub unseen: Vec<String>,
    /// How it was told, in words.
    pub rule: String,
}

impl Labels {
    /// What the labels `seen` in the column `column` mean.
    ///
    /// # Errors
    /// The reason in words where they could be read two ways or no way, with the flags that decide.
    pub fn of(seen: &Seen, column: &str, args: &LabelArgs) -> Result<Self, String> {
        let labels: Vec<&str> = seen.0.keys().map(String::as_str).collect();
        if !args.positive.is_empty() {
            let among = |wanted: &[String]| -> BTreeSet<String> {
                let same = |label: &&str| wanted.iter().any(|wanted| same_label(wanted, label));
                labels.iter().filter(|label| same(label)).map(|label| label.to_string()).collect()
            };
            let (positive, negative) = (among(&args.positive), among(&args.negative));
            if let Some(both) = positive.intersection(&negative).next() {
                return Err(format!("--positive and --negative both name `{}`", short(both)));
            }
            if positive.is_empty() && negative.is_empty() && !labels.is_empty() {
                return Err(format!(
                    "no label is named by --positive and --negative; there are {}",
                    self::list(&labels)
                ));
            }
            let seen = |wanted: &str| labels.iter().any(|label| same_label(wanted, label));
            let unseen = args.positive.iter().chain(&args.negative).filter(|wanted| !seen(wanted)).cloned();
            let rule = "as --positive and --negative say".into();
            return Ok(Self { positive, negative, unseen: unseen.collect(), rule });
        }
        let sides: Vec<Option<Side>> = labels.iter().map(|label| word(label)).collect();
        let numbers: Option<Vec<f64>> = labels
            .iter()
            .zip(&sides)
            .filter(|(_, side)| side.is_none())
            .map(|(label, _)| number(label))
            .collect();
        let refuse = |reason: &str| {
            Err(format!(
                "labels {} in `{}` {reason}; --positive 4,5 --negative 1,2 or the like says what they mean",
                list(&labels),
                short(column)
            ))
        };
        let Some(numbers) = numbers else { return refuse("are not known") };
        let worded = sides.iter().any(Option::is_some);
        let scale = match scale(&numbers, column, worded) {
            Ok(scale) => scale,
            Err(reason) => return refuse(reason),
        };
        let mut found = Self {
            positive: BTreeSet::new(),
            negative: BTreeSet::new(),
            unseen: Vec::new(),
            rule: scale.0.into(),
        };
        for (label, side) in labels.iter().zip(sides) {
            let side = side.or_else(|| number(label).map(scale.1));
            match side {
                Some(Side::Positive) => found.positive.insert(label.to_string()),
                Some(Side::Negative) => found.negative.insert(label.to_string()),
                _ => false,
            };
        }
        Ok(found)
    }

    /// 1 for a positive label, 0 for a negative one, `None` for one that is neither.
    pub fn target(&self, label: &str) -> Option<f32> {
        match (self.positive.contains(label), self.negative.contains(label)) {
            (true, _) => Some(1.0),
            (_, true) => Some(0.0),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Positive,
    Negative,
    Middle,
}

fn same_label(wanted: &str, label: &str) -> bool {
    let (wanted, label) = (wanted.trim(), label.trim());
    wanted.eq_ignore_ascii_case(label)
        || matches!((number(wanted), number(label)), (Some(wanted), Some(label)) if wanted == label)
}

/// The labels, printable and few.
fn list(labels: &[&str]) -> String {
    let mut shown: Vec<String> = labels.iter().take(8).map(|label| format!("`{}`", short(label))).collect();
    if labels.len() > 8 {
        shown.push(format!("{} more", labels.len() - 8));
    }
    shown.join(", ")
}

/// What a word says by itself.
fn word(label: &str) -> Option<Side> {
    let label = label.trim().to_lowercase();
    Some(match label.as_str() {
        "positive" | "pos" | "good" | "true" | "yes" | "very positive" | "very good" | "favorable"
        | "recommended" | "fresh" | "thumbs up" => Side::Positive,
        "negative" | "neg" | "bad" | "false" | "no" | "very negative" | "very bad" | "unfavorable"
        | "not recommended" | "rotten" | "thumbs down" => Side::Negative,
        "neutral" | "neu" | "mixed" | "unsup" | "none" | "n/a" | "nan" | "null" | "unknown" | "?" => {
            Side::Middle
        }
        _ => return None,
    })
}

fn number(label: &str) -> Option<f64> {
    // As `5 stars` and `LABEL_1` are written too.
    let label = label.trim().to_lowercase();
    let label = label.strip_prefix("label_").unwrap_or(&label);
    let label = label.trim_end_matches("stars").trim_end_matches("star").trim();
    // A spreadsheet of many countries writes `4,0`.
    let comma = label.split_once(',').filter(|(_, decimals)| (1..=2).contains(&decimals.len()));
    let number = match comma {
        Some((whole, decimals)) => format!("{whole}.{decimals}").parse(),
        None => label.parse(),
    };
    number.ok().filter(|number: &f64| number.is_finite())
}

/// How numbers are to be read: the rule in words, and the side of each.
type Scale = (&'static str, fn(f64) -> Side);

fn sided(low: f64, high: f64, value: f64) -> Side {
    if value <= low {
        Side::Negative
    } else if value >= high {
        Side::Positive
    } else {
        Side::Middle
    }
}

fn scale(numbers: &[f64], column: &str, worded: bool) -> Result<Scale, &'static str> {
    let column = column.trim().to_lowercase();
    let named_stars = ["stars", "star", "rating", "ratings", "overall", "star_rating", "review_rating"];
    let named_stars = named_stars.contains(&column.as_str());
    let (low, high) =
        numbers.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), n| (l.min(*n), h.max(*n)));
    let whole = numbers.iter().all(|number| number.fract() == 0.0);
    let only = |allowed: &[f64]| numbers.iter().all(|number| allowed.contains(number));
    let stars: Scale =
        ("stars: 4 and 5 positive, 1 and 2 negative, between them neither", |n| sided(2.0, 4.0, n));
    let binary: Scale = ("1 positive, 0 negative", |n| sided(0.0, 1.0, n));
    let ten: Scale =
        ("of ten: 7 and more positive, 4 and less negative, between them neither", |n| sided(4.0, 7.0, n));
    if numbers.is_empty() {
        return Ok(("positive and negative by their names", |_| Side::Middle));
    }
    if named_stars && low >= 0.5 && high <= 5.0 {
        return Ok(stars);
    }
    if named_stars && low >= 0.0 && high <= 10.0 && high > 5.0 {
        return Ok(ten);
    }
    if !whole {
        return Err("are no whole numbers");
    }
    if low < 0.0 {
        return match only(&[-1.0, 0.0, 1.0]) {
            true => Ok(("1 positive, -1 negative, 0 neither", |n| sided(-1.0, 1.0, n))),
            false => Err("are not known"),
        };
    }
    match numbers.len() {
        _ if only(&[0.0, 1.0]) && (numbers.len() == 2 || worded) => Ok(binary),
        _ if only(&[0.0, 2.0, 4.0]) && low == 0.0 && high == 4.0 => {
            Ok(("4 positive, 0 negative, 2 neither", |n| sided(0.0, 4.0, n)))
        }
        2 if only(&[1.0, 2.0]) => {
            Ok(("2 positive, 1 negative, as torchtext has them", |n| sided(1.0, 2.0, n)))
        }
        1 if high <= 3.0 => Err("alone could mean either side"),
        _ if low == 0.0 && high == 4.0 && numbers.len() >= 4 => {
            Ok(("3 and 4 positive, 0 and 1 negative, 2 neither", |n| sided(1.0, 3.0, n)))
        }
        _ if low >= 1.0 && (4.0..=5.0).contains(&high) => Ok(stars),
        _ if low >= 0.0 && high > 5.0 && high <= 10.0 => Ok(ten),
        _ => Err("could be read in more than one way"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sides(labels: &[&str], column: &str) -> Result<Vec<Option<f32>>, String> {
        let mut seen = Seen::default();
        labels.iter().try_for_each(|label| seen.note(label))?;
        let rule = Labels::of(&seen, column, &LabelArgs::default())?;
        Ok(labels.iter().map(|label| rule.target(label)).collect())
    }

    #[test]
    fn labels_tell_by_all_of_them_together() {
        const P: Option<f32> = Some(1.0);
        const N: Option<f32> = Some(0.0);
        for (labels, column, expected) in [
            (&["positive", "NEG", "Neutral"][..], "label", &[P, N, None][..]),
            (&["1", "0"], "label", &[P, N]),
            (&["1.0", "0.0"], "label", &[P, N]),
            (&["1", "2"], "label", &[N, P]),
            (&["1", "2"], "stars", &[N, N]),
            (&["1"], "overall", &[N]),
            (&["5.0", "4.0", "3.0", "2.0", "1.0"], "overall", &[P, P, None, N, N]),
            (&["5,0", "4,5", "3,0", "1,25"], "stars", &[P, P, None, N]),
            (&["5", "4", "1"], "label", &[P, P, N]),
            (&["0", "1", "2", "3", "4"], "label", &[N, N, None, P, P]),
            (&["0", "4"], "target", &[N, P]),
            (&["-1", "0", "1"], "label", &[N, None, P]),
            (&["-1", "neutral"], "label", &[N, None]),
            (&["10", "1", "5", "7"], "rating", &[P, N, None, P]),
            (&["5 stars", "1 star"], "stars", &[P, N]),
            (&["LABEL_1", "LABEL_0"], "label", &[P, N]),
            (&["True", "False"], "label", &[P, N]),
            (&["yes", "No"], "liked", &[P, N]),
            (&["fresh", "rotten"], "label", &[P, N]),
        ] {
            assert_eq!(sides(labels, column).as_deref(), Ok(expected), "{labels:?} in {column}");
        }
        for labels in [
            &["1"][..],
            &["0"],
            &["2"],
            &["1", "2", "3"],
            &["0", "1", "2"],
            &["joy", "fear"],
            &["0.3", "0.7"],
            &["1,000", "0"],
            &["100", "1"],
        ] {
            let fault = sides(labels, "label").unwrap_err();
            assert!(fault.contains("--positive") && fault.contains(labels[0]), "{fault}");
        }
    }

    #[test]
    fn flags_say_what_labels_mean() {
        let mut seen = Seen::default();
        ["1.0", "2", "joy"].iter().for_each(|label| seen.note(label).unwrap());
        let args = LabelArgs { positive: vec!["JOY".into(), "love".into()], negative: vec!["1".into()] };
        let rule = Labels::of(&seen, "label", &args).unwrap();
        assert_eq!(["1.0", "2", "joy"].map(|label| rule.target(label)), [Some(0.0), None, Some(1.0)]);
        assert_eq!(seen.counts(&rule), (1, 1, 1));
        assert_eq!(rule.unseen, ["love"]);
    }
}
