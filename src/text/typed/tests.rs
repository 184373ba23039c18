use std::collections::BTreeSet;

use super::*;
use crate::text::key::Key;
use crate::text::{Counts, Scheme, Token, Tokenizer, Vocabulary};

/// Classes, then the words of the shipped vocabulary, then the pieces of single letters.
fn vocabulary() -> Vocabulary {
    let shipped = include_str!("../../../models/imdb/vocab.txt").lines().skip(3);
    let classes: BTreeSet<&str> = class_tokens().collect();
    // As `train` counts them: no other spelling of a word, and none with a letter held.
    let held = |word: &str| {
        word.as_bytes().chunk_by(|a, b| a == b).any(|run| run.len() > 2 && run[0].is_ascii_lowercase())
    };
    let words = shipped.filter(|word| {
        let class = classes.contains(word) || word.contains("##") || word.starts_with('<');
        !class && !held(word) && crate::text::reading::canonical(word) == *word
    });
    let words = words.filter(|word| *word != "awsome" && *word != "fucking").chain(["fucking"]);
    let letters = ('a'..='z').flat_map(|letter| [format!("{letter}##"), format!("##{letter}")]);
    let words = class_tokens().chain(words).map(String::from).chain(letters);
    Vocabulary::from_words(words).unwrap()
}

fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    Tokenizer::new(Scheme::Typed).for_each(text, |token| words.push(token.word.to_string()));
    words
}

fn read(vocabulary: &Vocabulary, text: &str) -> (Vec<String>, Counts) {
    let mut ids = Vec::new();
    let counts = Tokenizer::new(Scheme::Typed).encode(text, vocabulary, &mut ids);
    (ids.into_iter().map(|id| vocabulary.word(id).unwrap().to_string()).collect(), counts)
}

#[derive(serde::Deserialize)]
struct Same {
    kind: String,
    same: [String; 2],
}

#[test]
fn texts_that_mean_the_same_are_the_same_ids() {
    let vocabulary = vocabulary();
    let mut failed = Vec::new();
    let pairs = include_str!("../../../tests/same_texts.jsonl").lines();
    for Same { kind, same: [a, b] } in pairs.map(|line| serde_json::from_str(line).unwrap()) {
        let (left, right) = (read(&vocabulary, &a), read(&vocabulary, &b));
        assert!(left.1.words > 0, "{a}");
        if left.0 != right.0 {
            failed.push(format!("{kind}: {a:?} {:?}, {b:?} {:?}", left.0, right.0));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn words_keep_their_apostrophes_and_marks_stand_alone() {
    assert_eq!(
        words("It wasn't 'bad'!!!!! Well-made, (I) guess: see http://a.org/b."),
        [
            "it", "wasn't", "\"", "bad", "\"", "!!!", "well", "-", "made", ",", "(", "i", ")", "guess", ":",
            "see", "<url>", "."
        ]
    );
    assert_eq!(words("Great...<br /><BR>Really?!"), ["great", "...", "really", "?", "!"]);
    assert_eq!(
        words("R&B at 10:30, 1999 and 9/11; x<y"),
        ["r", "and", "b", "at", "10:30", ",", "1999", "and", "9", "/", "11", ";", "x", "y"]
    );
    assert_eq!(words("映画 Война naïve"), ["映画", "воина", "naive"]);
    assert_eq!(words("I <love> it"), ["i", "love", "it"]);
    assert_eq!(words(" \t\0\u{ad}\u{200b} ** __ ~ "), Vec::<String>::new());
}

#[test]
fn stars_in_words_are_a_rating_where_a_part_of_a_sentence_ends() {
    for (text, expected) in [
        ("Five stars", vec!["<rating-10>"]),
        ("two stars!", vec!["<rating-4>", "!"]),
        ("I give it four stars.", vec!["i", "give", "it", "<rating-8>", "."]),
        ("Zero stars\nBad", vec!["zero", "stars", "bad"]),
        ("(one star)", vec!["(", "<rating-2>", ")"]),
        ("Ten stars<br />Good", vec!["<rating-10>", "good"]),
        ("one and a half stars,", vec!["<rating-3>", ","]),
        ("-10/10", vec!["-", "<rating-0>"]),
        ("\u{2212}5 stars, bad", vec!["-", "<rating-0>", ",", "bad"]),
        ("Story -7/10", vec!["story", "-", "<rating-7>"]),
    ] {
        assert_eq!(words(text), expected, "{text}");
    }
}

#[test]
fn what_is_no_rating_stays() {
    for (text, expected) in [
        ("Two stars of the film", vec!["two", "stars", "of", "the", "film"]),
        ("Its two stars.", vec!["its", "two", "stars", "."]),
        ("five stars of old", vec!["five", "stars", "of", "old"]),
        ("its one star's", vec!["its", "one", "star's"]),
        ("on 4/5/2001", vec!["on", "4", "/", "5", "/", "2001"]),
        ("3/4 of it", vec!["3", "/", "4", "of", "it"]),
        ("9/10 of the time", vec!["9", "/", "10", "of", "the", "time"]),
        ("*** SPOILERS ***", vec!["spoilers"]),
        ("an A-list actor", vec!["an", "a", "-", "list", "actor"]),
        ("open 24/7", vec!["open", "24", "/", "7"]),
    ] {
        assert_eq!(words(text), expected);
    }
}

#[test]
fn unknown_words_are_read_by_pieces_and_known_ones_told_apart() {
    let vocabulary = vocabulary();
    assert_eq!(read(&vocabulary, "qxzzyk").1, Counts { words: 1, unknown: 1, known: 0 });
    assert_eq!(read(&vocabulary, "映画 !!!").1, Counts { words: 1, unknown: 1, known: 0 });
    assert_eq!(read(&vocabulary, "$19.99, 1994 @me").1, Counts { words: 3, unknown: 0, known: 0 });
    assert_eq!(read(&vocabulary, "👍👍👍").1, Counts { words: 1, unknown: 0, known: 1 });
    assert_eq!(read(&vocabulary, "?! ...").1, Counts::default());
    assert_eq!(read(&vocabulary, "#boring").0, ["boring"]);
    // However short: no text is without a word where one is known.
    for (text, expected) in [("#ok", "ok"), ("$hit", "shit"), ("#a", "a")] {
        let known = Counts { words: 1, unknown: 0, known: 1 };
        assert_eq!(read(&vocabulary, text), (vec![expected.to_string()], known));
    }
    assert_eq!(read(&vocabulary, "hahahahaha").0, [":laugh:"]);
}

#[test]
fn offsets_hold_what_a_token_stands_for() {
    let text = "\u{feff}Cafe\u{301} didnâ€™t\r\nwon&#39;t 👍🏽👍 4/5 stars… so\u{ad}so";
    let mut cut = Vec::new();
    Tokenizer::new(Scheme::Typed)
        .for_each(text, |token| cut.push((&text[token.start..token.end], token.word.to_string())));
    let cut: Vec<(&str, &str)> = cut.iter().map(|(part, word)| (*part, word.as_str())).collect();
    assert_eq!(
        cut,
        [
            ("Cafe\u{301}", "cafe"),
            ("didnâ€™t", "didn't"),
            ("won&#39;t", "won't"),
            ("👍🏽👍", ":thumbs-up:"),
            ("4/5 stars", "<rating-8>"),
            ("…", "..."),
            ("so\u{ad}so", "soso"),
        ]
    );
}

#[test]
fn hostile_texts_take_time_in_proportion_to_their_length() {
    // Seen through what is told, not by the clock: no stretch is longer than it may be, and the whole is read.
    for part in
        ["<a ", "<!--", "a-", "a.", "&#", "a@", "*", "f*", "5/", "★", ":-", "a'", "\u{301}", "#a", "â€", "1,"]
    {
        let text = part.repeat(20_000);
        let mut end = 0;
        Tokenizer::new(Scheme::Typed).for_each(&text, |token| end = token.end);
        assert!(end <= text.len());
    }
}

/// All of `text` as the careful half reads it.
fn scan_carefully(text: &str, each: &mut impl FnMut(Token<'_>, Key)) {
    let mut normalizer = Normalizer::default();
    let mut at = 0;
    while at < text.len() {
        let space = text.as_bytes()[at] <= b' ';
        at = if space { at + 1 } else { careful::scan(text, at, &mut normalizer, each) };
    }
}

/// All of `text`, one token at a time.
fn scan_by_steps(text: &str, each: &mut impl FnMut(Token<'_>, Key)) {
    let mut normalizer = Normalizer::default();
    let mut at = 0;
    while at < text.len() {
        at = step(text, at, &mut normalizer, each);
    }
}

#[test]
fn windows_and_steps_agree_wherever_a_window_ends() {
    let text = "Don't 'sigh' (it's \"well-made\", I think). Two of us, four out of five; B- it 's did n't . .  . x,y\nA-a \
        a.b rock'n'roll's O'Brien?! antidisestablishmentarianism's <br />10/10 don't' \u{2019}s \u{92}internationalisation!";
    for before in 0..80 {
        for after in ["", " ", ".", "'", "n't and more of it, up to the next window and into it, at last"] {
            for filling in ["x", " ", "a ", ". "] {
                let text = filling.repeat(before) + text + after;
                let (mut windows, mut steps) = (Vec::new(), Vec::new());
                let told = |token: Token<'_>, key| (token.word.to_string(), token.start, token.end, key);
                scan(&text, &mut |token: Token<'_>, key| windows.push(told(token, key)));
                scan_by_steps(&text, &mut |token: Token<'_>, key| steps.push(told(token, key)));
                assert_eq!(windows, steps, "{text:?}");
            }
        }
    }
}

proptest::proptest! {
    #[test]
    fn windows_and_steps_agree(
        text in "(\\PC|[a-zA-Z]{1,12} |[a-f]{1,20}'?[a-f]{0,3}|(one|Two|five|ten) ?(o|s|a)|[-.!?,:;()\"' ]{1,3}| ?n't| 's|[0-9\n\t\0<>&$*]){0,60}"
    ) {
        let (mut windows, mut steps) = (Vec::new(), Vec::new());
        let told = |token: Token<'_>, key| (token.word.to_string(), token.start, token.end, key);
        scan(&text, &mut |token: Token<'_>, key| windows.push(told(token, key)));
        scan_by_steps(&text, &mut |token: Token<'_>, key| steps.push(told(token, key)));
        assert_eq!(windows, steps);
    }

    #[test]
    fn tokens_lie_in_order_at_character_borders(
        text in "\\PC*|[a-zA-Z0-9.!?<>br/ '’“é映\0\t&#;@*★👍🏽\u{301}\u{200d}\u{fe0f}â€™Ã©:()$-]*"
    ) {
        let mut last = 0;
        scan(&text, &mut |token: Token<'_>, key| {
            assert!(token.start >= last && token.end > token.start);
            assert!(text.is_char_boundary(token.start) && text.is_char_boundary(token.end));
            assert_eq!(key, Key::of(token.word.as_bytes()));
            assert!(!token.word.is_empty());
            last = token.end;
        });
    }

    #[test]
    fn both_halves_agree_on_plain_text(text in "([a-fnostA-E]{1,6}|[0-9]{1,2}|[-.!?,:;()\"'/%{}\\[\\]+=]{1,3}|five stars|out of|don't| {1,2}|\n)*") {
        // The careful half reads one stretch at a time, and so leaves what stands apart to the other.
        proptest::prop_assume!(![" '", " n'", " N'", ". .", "\n'"].iter().any(|apart| text.contains(apart)));
        let (mut fast, mut slow) = (Vec::new(), Vec::new());
        scan(&text, &mut |token: Token<'_>, key| fast.push((token.word.to_string(), token.start, token.end, key)));
        scan_carefully(&text, &mut |token: Token<'_>, key| slow.push((token.word.to_string(), token.start, token.end, key)));
        assert_eq!(fast, slow);
    }
}
