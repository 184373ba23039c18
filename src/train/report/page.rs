//! The report of a model: one page of HTML with its pictures in it, which asks nobody for anything.

use std::fmt::Write;

use htmlize::escape_text;

use crate::predict::{Prediction, WordWeight};
use crate::train::data::minimal_pairs::Behaviour;
use crate::train::metrics::Metrics;
use crate::train::report::charts::{self, Group};
use crate::train::report::curve::curves;
use crate::train::report::record::TrainingRecord;
use crate::train::report::reliability::reliability;
use crate::train::report::svg;

/// What every report begins with; a file that begins otherwise is none.
pub const MARK: &str = "<!doctype html>\n<!-- imdb-sentiment report -->\n";
const STYLE: &str = include_str!("page.css");
/// Shares of the reviews for which accuracy is listed.
const SHARES: [f64; 7] = [1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5];
/// Characters of a mistake that are shown.
const EXCERPT: usize = 700;
/// Shares of the strongest weight from which on a word is coloured.
const STEPS: [f32; 4] = [0.06, 0.2, 0.4, 0.7];

/// A review that was judged wrongly.
pub struct Mistake {
    /// Its text.
    pub text: String,
    /// Where it stands: in a table its line, in the release its number.
    pub place: String,
    /// What its label was read from.
    pub said: String,
    /// What the model said of it.
    pub prediction: Prediction,
    /// Why.
    pub words: Vec<WordWeight>,
}

/// A word or a run of words, and what it does.
pub struct Influence {
    /// The words.
    pub name: String,
    /// What it adds to the logit.
    pub weight: f32,
    /// In how many of the reviews that were looked at it stands; `None` where that was not counted.
    pub reviews: Option<usize>,
}

/// What a report tells.
pub struct Report<'r> {
    /// The model's name.
    pub model: &'r str,
    /// Name of the data, and which part of them.
    pub data: &'r str,
    /// How the model came to be, where that is known.
    pub record: Option<&'r TrainingRecord>,
    /// Figures on the data.
    pub metrics: &'r Metrics,
    /// Logits of the reviews, in order.
    pub logits: &'r [f32],
    /// Their labels.
    pub targets: &'r [f32],
    /// Accuracy by length.
    pub lengths: &'r [Group],
    /// Accuracy by what labels were read from, and what that is; where there is more than one a class.
    pub kinds: Option<(&'r str, &'r [Group])>,
    /// The most confident mistakes, the surest first.
    pub mistakes: &'r [Mistake],
    /// Mean weights of words in these reviews, and how many reviews were looked at.
    pub words: (&'r [Influence], usize),
    /// The grams with the largest weights.
    pub grams: &'r [Influence],
    /// How the model does on minimal pairs; none where they are not for it.
    pub behaviour: &'r [Behaviour],
    /// The command, as it was typed.
    pub command: &'r str,
}

impl Report<'_> {
    /// The page.
    pub fn html(&self) -> String {
        let model = escape_text(self.model);
        let mut html = format!(
            "{MARK}<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <title>Report on {model}</title>\n<style>{STYLE}{}@media(prefers-color-scheme:dark){{{}}}</style>\n</head>\n\
             <body>\n<header>\n<h1>{model}</h1>\n<p class=\"lead\">Measured on {} labelled reviews of {}.</p>\n</header>\n<main>\n",
            svg::LIGHT,
            svg::DARK,
            thousands(self.metrics.reviews),
            escape_text(self.data)
        );
        self.tiles(&mut html);
        self.discrimination(&mut html);
        self.calibration(&mut html);
        self.abstaining(&mut html);
        self.kinds_of_reviews(&mut html);
        self.influences(&mut html);
        self.pairs(&mut html);
        self.training(&mut html);
        self.mistakes(&mut html);
        let _ = write!(
            html,
            "</main>\n<footer><code>{}</code><br>imdb-sentiment {}. One file; it asks nobody for anything.</footer>\n</body>\n</html>\n",
            escape_text(self.command),
            env!("CARGO_PKG_VERSION")
        );
        html
    }

    fn tiles(&self, html: &mut String) {
        let m = self.metrics;
        let (low, high) = charts::wilson(m.true_positives + m.true_negatives, m.reviews);
        let accuracy = format!("{low:.3} to {high:.3} (95 % interval)");
        let positive = (m.true_positives + m.false_negatives) as f64 / m.reviews.max(1) as f64;
        let tiles = [
            ("Accuracy", format!("{:.4}", m.accuracy), accuracy.as_str()),
            ("Area under ROC", m.auc_text(), "1 is perfect order, .5 is chance"),
            ("Calibration error", format!("{:.4}", m.ece), "0 is perfect; 15 bins"),
            ("Cross-entropy", format!("{:.4}", m.loss), "0 is perfect, .693 is a coin"),
            ("F1", format!("{:.4}", m.f1), "of positive"),
            ("Labelled positive", percent(positive), "of these reviews"),
        ];
        html.push_str("<dl class=\"tiles\">\n");
        for (name, value, note) in tiles {
            let _ = writeln!(html, "<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>");
        }
        html.push_str("</dl>\n");
    }

    fn discrimination(&self, html: &mut String) {
        let (logits, targets, m) = (self.logits, self.targets, self.metrics);
        html.push_str("<section>\n<h2>Telling positive from negative</h2>\n<div class=\"pair\">\n");
        figure(html, "ROC", &charts::roc(logits, targets, m.auc));
        figure(html, "Precision and recall", &charts::precision_recall(logits, targets));
        html.push_str("</div>\n<h3>Confusion, from a probability of .5 on</h3>\n<div class=\"scroll\"><table class=\"confusion\">\n<thead><tr><th></th><th scope=\"col\">called negative</th><th scope=\"col\">called positive</th></tr></thead>\n<tbody>\n");
        for (name, cells) in [
            ("labelled negative", [(m.true_negatives, "right"), (m.false_positives, "wrong")]),
            ("labelled positive", [(m.false_negatives, "wrong"), (m.true_positives, "right")]),
        ] {
            let all = (cells[0].0 + cells[1].0).max(1) as f64;
            let _ = write!(html, "<tr><th scope=\"row\">{name}</th>");
            for (count, class) in cells {
                let share = percent(count as f64 / all);
                let _ = write!(html, "<td class=\"{class}\"><b>{}</b>{share}</td>", thousands(count));
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody></table></div>\n</section>\n");
    }

    fn calibration(&self, html: &mut String) {
        html.push_str("<section>\n<h2>How far its probabilities can be believed</h2>\n<p class=\"soft\">Of reviews with a probability of .8, eight in ten should be positive: the dots should lie on the dashed line. Beside each stands how many reviews it is of.</p>\n<div class=\"pair\">\n");
        figure(html, "Calibration", &reliability(self.logits, self.targets));
        figure(html, "Probabilities", &charts::distribution(self.logits, self.targets));
        html.push_str("</div>\n</section>\n");
    }

    fn abstaining(&self, html: &mut String) {
        let covered = charts::covered(self.logits, self.targets);
        html.push_str("<section>\n<h2>Answering only when sure</h2>\n<p class=\"soft\">With <code>server --abstain SCORE</code> reviews below that score are called uncertain; those that are left are right more often.</p>\n<div class=\"pair\">\n");
        figure(html, "Accuracy by coverage", &charts::coverage(self.logits, self.targets));
        html.push_str("<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">answered</th><th scope=\"col\">from a score of</th><th scope=\"col\">accuracy</th><th scope=\"col\">reviews</th></tr></thead>\n<tbody>\n");
        for share in SHARES {
            let count = ((share * covered.len() as f64).round() as usize).clamp(1, covered.len().max(1));
            if let Some((_, accuracy, score)) = covered.get(count - 1) {
                let _ = writeln!(
                    html,
                    "<tr><td>{}</td><td>{score:.3}</td><td>{accuracy:.4}</td><td>{}</td></tr>",
                    percent(share),
                    thousands(count)
                );
            }
        }
        html.push_str("</tbody></table></div>\n</div>\n</section>\n");
    }

    fn kinds_of_reviews(&self, html: &mut String) {
        html.push_str("<section>\n<h2>By kind of review</h2>\n<p class=\"soft\">The lines are the intervals in which the accuracy of so few reviews lies in 95 of 100 cases.</p>\n<div class=\"pair\">\n");
        figure(html, "Accuracy by length", &charts::by_group(self.lengths, "tokens"));
        if let Some((name, groups)) = self.kinds {
            figure(html, &format!("Accuracy by {name}"), &charts::by_group(groups, name));
        }
        html.push_str("</div>\n</section>\n");
    }

    fn influences(&self, html: &mut String) {
        let (words, looked_at) = self.words;
        html.push_str("<section>\n<h2>Words with the largest weights</h2>\n");
        if !words.is_empty() {
            let _ = write!(
                html,
                "<h3>In these reviews</h3>\n<p class=\"soft\">What a word adds to the logit in the mean (integrated gradients, \
                 with the n-grams), in {looked_at} of the reviews; the last column is in how many of them it stands.</p>\n"
            );
            sides(html, words);
        }
        if !self.grams.is_empty() {
            html.push_str("<h3>In the table of n-grams</h3>\n<p class=\"soft\">Weight times log-count ratio of runs of one to three words, before a review's runs are brought to length 1.</p>\n");
            sides(html, self.grams);
        }
        if words.is_empty() && self.grams.is_empty() {
            html.push_str("<p>Too few reviews to tell.</p>\n");
        }
        html.push_str("</section>\n");
    }

    fn pairs(&self, html: &mut String) {
        if self.behaviour.is_empty() {
            return;
        }
        html.push_str("<section>\n<h2>Minimal pairs</h2>\n<p class=\"soft\">Made-up texts about films that differ in one thing. Up to contrast, the first of a pair should be the more positive one; names, places and people should move the probability by .1 at most; what holds no opinion should lie near one half.</p>\n<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">what differs</th><th scope=\"col\">pairs</th><th scope=\"col\">as expected</th><th scope=\"col\">both labels right</th><th scope=\"col\">mean difference</th></tr></thead>\n<tbody>\n");
        for b in self.behaviour {
            let labels = b.both_labels.map_or("–".into(), |count| count.to_string());
            let _ = writeln!(
                html,
                "<tr><td>{}</td><td>{}</td><td>{} ({})</td><td>{labels}</td><td>{:+.3}</td></tr>",
                escape_text(b.kind.as_str()),
                b.pairs,
                b.right,
                percent(b.right as f64 / b.pairs.max(1) as f64),
                b.mean_difference
            );
        }
        html.push_str("</tbody></table></div>\n</section>\n");
    }

    fn training(&self, html: &mut String) {
        let Some(record) = self.record else { return };
        html.push_str("<section>\n<h2>How it was trained</h2>\n");
        let kept =
            record.kept_epoch.map_or(String::new(), |epoch| format!(", the weights of epoch {epoch} kept"));
        let _ = write!(
            html,
            "<p>{} reviews to learn from, {} held out; {} epochs{kept}. Seed {}.</p>\n<p><code>{}</code></p>\n",
            thousands(record.data.train),
            thousands(record.data.validation),
            record.epochs.len(),
            record.settings.seed,
            escape_text(record.command.as_str())
        );
        if !record.epochs.is_empty() {
            html.push_str("<div class=\"pair\">\n");
            for (picture, name) in
                curves(&record.epochs, record.kept_epoch).iter().zip(["Loss by epoch", "Accuracy by epoch"])
            {
                figure(html, name, picture);
            }
            html.push_str("</div>\n");
        }
        html.push_str("</section>\n");
    }

    fn mistakes(&self, html: &mut String) {
        html.push_str("<section>\n<h2>The most confident mistakes</h2>\n");
        if self.mistakes.is_empty() {
            html.push_str("<p>There is none.</p>\n");
        } else {
            html.push_str("<p class=\"soft\">Texts of the data that was measured on. Blue words spoke for positive, orange ones for negative; wavy ones are not in the vocabulary. Some of these labels may be wrong themselves.</p>\n");
        }
        for Mistake { text, place, said, prediction, words } in self.mistakes {
            let _ = writeln!(
                html,
                "<div class=\"mistake\"><div class=\"said\"><b>{} {}</b>labelled {}<br>{}</div><p>{}</p></div>",
                prediction.label(),
                percent(f64::from(prediction.score())),
                escape_text(said.as_str()),
                escape_text(place),
                coloured(text, words)
            );
        }
        html.push_str("</section>\n");
    }
}

fn figure(html: &mut String, name: &str, picture: &svg::Picture) {
    let _ = write!(html, "<figure><figcaption>{name}</figcaption>\n{}</figure>\n", picture.inline());
}

/// Words that speak for positive beside those that speak for negative.
fn sides(html: &mut String, words: &[Influence]) {
    let strongest = words.iter().map(|word| word.weight.abs()).fold(1e-6, f32::max);
    html.push_str("<div class=\"pair\">\n");
    for (side, class) in [(1.0, "up"), (-1.0, "down")] {
        html.push_str("<ol class=\"words\">\n");
        for Influence { name, weight, reviews } in words.iter().filter(|word| side * word.weight > 0.0) {
            let count = reviews.map_or(String::new(), |reviews| format!("{reviews} ×"));
            let name = escape_text(name.as_str());
            let _ = writeln!(
                html,
                "<li><span class=\"word\" title=\"{}\">{name}</span><span class=\"track\"><span class=\"stick {class}\" \
                 style=\"width:{:.1}%\"></span></span><span class=\"figure\">{weight:+.2}</span><span \
                 class=\"count\">{count}</span></li>",
                name.replace('"', "&quot;"),
                100.0 * weight.abs() / strongest
            );
        }
        html.push_str("</ol>\n");
    }
    html.push_str("</div>\n");
}

/// The stretch of at most [`EXCERPT`] characters in which words weigh most; the whole of a text that is no longer.
fn excerpt(text: &str, words: &[WordWeight]) -> std::ops::Range<usize> {
    let end_from = |start: usize| {
        text[start..].char_indices().nth(EXCERPT).map_or(text.len(), |(length, _)| start + length)
    };
    let weight = |start: usize| {
        let end = end_from(start);
        let within = |word: &&WordWeight| word.range.start >= start && word.range.end <= end;
        words.iter().filter(within).map(|word| word.weight.abs()).sum::<f32>()
    };
    if end_from(0) == text.len() {
        return 0..text.len();
    }
    // Every tenth word is close enough, and quick for a long text.
    let starts = std::iter::once(0).chain(words.iter().step_by(10).map(|word| word.range.start));
    let best = starts.fold((0, f32::MIN), |best, start| {
        let sum = weight(start);
        if sum > best.1 { (start, sum) } else { best }
    });
    best.0..end_from(best.0)
}

/// An excerpt of `text` with its words in colour.
fn coloured(text: &str, words: &[WordWeight]) -> String {
    let std::ops::Range { start: begin, end } = excerpt(text, words);
    let plain = |text: &str| escape_text(text.replace("<br />", " ").replace("<br>", " ")).into_owned();
    let strongest = words.iter().map(|word| word.weight.abs()).fold(1e-6, f32::max);
    let mut html = String::from(if begin > 0 { "…" } else { "" });
    let mut at = begin;
    let within = |word: &&WordWeight| word.range.end <= end && word.range.start < word.range.end;
    for word in words.iter().filter(within).filter(|word| word.range.start >= begin) {
        let start = word.range.start.max(at);
        if start >= word.range.end {
            continue;
        }
        html += &plain(&text[at..start]);
        let step = STEPS.iter().rposition(|&from| word.weight.abs() >= from * strongest);
        let mut classes = Vec::new();
        if let Some(step) = step {
            classes.push(format!("w {}{}", if word.weight > 0.0 { 'p' } else { 'n' }, step + 1));
        }
        if !word.known {
            classes.push("unknown".into());
        }
        let shown = escape_text(&text[start..word.range.end]);
        match classes.is_empty() {
            true => html += &shown,
            false => {
                let classes = classes.join(" ");
                let _ =
                    write!(html, "<span class=\"{classes}\" title=\"{:+.2}\">{shown}</span>", word.weight);
            }
        }
        at = word.range.end;
    }
    html += &plain(&text[at..end.max(at)]);
    if end < text.len() {
        html.push('…');
    }
    html
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// A count with commas.
fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_never_read_as_html_and_words_are_coloured() {
        let text = "<script>alert(1)</script> & dull";
        let start = text.find("dull").unwrap();
        let word = WordWeight { range: start..start + 4, weight: -2.0, known: true };
        let html = coloured(text, &[word]);
        assert!(html.starts_with("&lt;script&gt;"), "{html}");
        assert!(html.ends_with("&amp; <span class=\"w n4\" title=\"-2.00\">dull</span>"), "{html}");
        let long = "word ".repeat(1000);
        assert!(coloured(&long, &[]).ends_with('…') && coloured(&long, &[]).chars().count() == EXCERPT + 1);
        // Of a long text the stretch is shown that weighs most.
        let late = long.clone() + "dull";
        let word = WordWeight { range: long.len()..late.len(), weight: -2.0, known: true };
        let html = coloured(&late, &[word]);
        assert!(html.starts_with('…') && html.contains("dull</span>"), "{html}");
    }

    #[test]
    fn counts_have_commas() {
        assert_eq!(
            [0, 999, 1000, 25_000, 1_234_567].map(thousands),
            ["0", "999", "1,000", "25,000", "1,234,567"]
        );
    }
}
