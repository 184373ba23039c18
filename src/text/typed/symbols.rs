//! Emoji and emoticons: a name for each feeling, one for all that show none.

use std::sync::LazyLock;

/// What stands for an emoji that no class of [`EMOJI`] holds.
pub(super) const OTHER_EMOJI: &str = ":emoji:";

/// Classes that show no feeling.
pub(super) const NEUTRAL: [&str; 6] = [OTHER_EMOJI, ":film:", ":music:", ":point:", ":clock:", ":flag:"];

/// The names of [`OTHER_EMOJI`] and of every class.
pub(super) fn class_names() -> impl Iterator<Item = &'static str> {
    [OTHER_EMOJI].into_iter().chain(EMOJI.iter().map(|(name, _)| *name))
}

/// Classes of emoji by meaning. The order is that of ids in every vocabulary written from now on: new classes come last.
const EMOJI: [(&str, &str); 36] = [
    (":love:", "❤♥❣💕💖💗💓💞💘💝💟🧡💛💚💙💜🤎🤍🖤🩷🩵🩶😍🥰😘😻🫶💋😗😙😚💑💏🏩💌"),
    (":laugh:", "😂🤣😆😹😝😜🤪😛"),
    (":smile:", "😀😃😄😁😊🙂☺😇🤗😺😸☻😌🙃🥲🫠😉"),
    (":thumbs-up:", "👍👌✅✔✓☑🆗🤙🤝🙆🙋"),
    (":applause:", "👏🙌💪👊✊🤜🤛🫡"),
    (":hundred:", "💯🔝🆒🚀📈"),
    (":fire:", "🔥"),
    (":star:", "★☆✨💫🤩🌠💥⚡"),
    (":trophy:", "🏆🥇🎖🏅👑💎🥈🥉"),
    (":party:", "🎉🎊🥳🎈🍾🥂🍻💃🕺🎆🎇"),
    (":cool:", "😎🤠😼"),
    (":smirk:", "😏"),
    (":yum:", "😋🤤🍿👅"),
    (":thumbs-down:", "👎❌✖✗✘❎🚫⛔🛑📉🙅🙍🙎"),
    (":anger:", "😡😠🤬👿😤💢🖕😾👹👺"),
    (":sad:", "😢😭😞😔🙁☹😟😥😿😓😩😫😖😣🥺🥹😦😧😕"),
    (":broken-heart:", "💔🥀"),
    (":sick:", "🤢🤮🤧🤒🤕🥴😷😵"),
    (":trash:", "💩🗑🚮🤡🐍🦨🪦⚰"),
    (":sleep:", "😴💤🥱😪🛌"),
    (":unimpressed:", "🙄😒😑😐😶🤨😬🫤🫥"),
    (":facepalm:", "🤦"),
    (":shrug:", "🤷"),
    (":shock:", "😱😨😰😮😯😲😳🫨🙀🫢🤭"),
    (":mind-blown:", "🤯"),
    (":think:", "🤔🧐❓❔🤓"),
    (":skull:", "💀☠"),
    (":pray:", "🙏🛐"),
    (":film:", "🎬🎥📽🎞📺🎭🎦📹🎟🎫"),
    (":music:", "🎵🎶♪♫♬🎼🎤🎧🎸🎹🎻🎺🥁"),
    (":point:", "👆👇👈👉☝☞☛➡⬅⬆⬇"),
    (":warning:", "⚠❗❕🚨📢📣"),
    (":devil:", "😈"),
    (":ghost:", "👻👽🎃🧟🧛🧙"),
    (":clock:", "⏰⌚⏳⌛🕰⏱"),
    (":flag:", "🏳🏴🏁🚩🎌"),
];

/// Every emoji of [`EMOJI`] with its class, in order of code points.
static CLASSES: LazyLock<Vec<(char, &str)>> = LazyLock::new(|| {
    let mut all: Vec<_> =
        EMOJI.iter().flat_map(|(name, members)| members.chars().map(move |ch| (ch, *name))).collect();
    all.sort_unstable();
    all
});

/// The name of the class of an emoji or symbol.
pub(super) fn class_of(ch: char) -> &'static str {
    if is_regional(ch) {
        return ":flag:";
    }
    match CLASSES.binary_search_by_key(&ch, |(emoji, _)| *emoji) {
        Ok(place) => CLASSES[place].1,
        Err(_) => OTHER_EMOJI,
    }
}

/// Whether `ch` is drawn rather than written: the blocks that hold emoji.
pub(super) fn is_pictograph(ch: char) -> bool {
    matches!(ch, '\u{1f000}'..='\u{1f0ff}' | '\u{1f18e}' | '\u{1f191}'..='\u{1faff}' | '\u{2600}'..='\u{27bf}'
        | '\u{2b00}'..='\u{2bff}' | '\u{231a}'..='\u{231b}' | '\u{23e9}'..='\u{23fa}')
        || is_regional(ch)
}

/// Half of a flag.
pub(super) fn is_regional(ch: char) -> bool {
    matches!(ch, '\u{1f1e6}'..='\u{1f1ff}')
}

pub(super) fn is_skin_tone(ch: char) -> bool {
    matches!(ch, '\u{1f3fb}'..='\u{1f3ff}')
}

/// Emoticons in lower case, longer ones before what they begin with.
const EMOTICONS: [(&str, &str); 58] = [
    (":'-(", ":sad:"),
    (":'-)", ":laugh:"),
    (">:-(", ":anger:"),
    (":-((", ":sad:"),
    (":-))", ":smile:"),
    ("</3", ":broken-heart:"),
    (":'(", ":sad:"),
    (":')", ":laugh:"),
    (":,(", ":sad:"),
    (":((", ":sad:"),
    (":))", ":smile:"),
    (">:(", ":anger:"),
    (">_<", ":anger:"),
    (">.<", ":anger:"),
    ("^_^", ":smile:"),
    ("^-^", ":smile:"),
    ("-_-", ":unimpressed:"),
    ("\\o/", ":party:"),
    (":-)", ":smile:"),
    (":-]", ":smile:"),
    (":o)", ":smile:"),
    (":^)", ":smile:"),
    (":-(", ":sad:"),
    (":-[", ":sad:"),
    (":o(", ":sad:"),
    (":-d", ":laugh:"),
    (":-p", ":yum:"),
    (":-/", ":unimpressed:"),
    (":-\\", ":unimpressed:"),
    (":-|", ":unimpressed:"),
    (":-*", ":love:"),
    (";-)", ":smile:"),
    (";-d", ":laugh:"),
    (";-p", ":laugh:"),
    ("=-)", ":smile:"),
    ("(-:", ":smile:"),
    (")-:", ":sad:"),
    ("<3", ":love:"),
    (":)", ":smile:"),
    (":]", ":smile:"),
    (":(", ":sad:"),
    (":d", ":laugh:"),
    (":p", ":yum:"),
    (":/", ":unimpressed:"),
    (":\\", ":unimpressed:"),
    (":|", ":unimpressed:"),
    (";)", ":smile:"),
    (";]", ":smile:"),
    (";d", ":laugh:"),
    (";p", ":laugh:"),
    (";(", ":sad:"),
    ("=)", ":smile:"),
    ("=]", ":smile:"),
    ("=d", ":laugh:"),
    ("=(", ":sad:"),
    ("=/", ":unimpressed:"),
    ("^^", ":smile:"),
    ("(:", ":smile:"),
];

/// The class of the emoticon at the start of `text` (lower-cased) and its length in characters, where what follows
/// lets it be one.
pub(super) fn emoticon(text: impl Iterator<Item = char> + Clone) -> Option<(&'static str, usize)> {
    let mut start = text.clone();
    let (first, second) = (start.next()?, start.next()?);
    if !matches!(first, ':' | ';' | '=' | '<' | '>' | '^' | '-' | '\\' | '(' | ')') || second == ' ' {
        return None;
    }
    EMOTICONS.iter().find_map(|(emoticon, class)| {
        let bytes = emoticon.as_bytes();
        if (char::from(bytes[0]), char::from(bytes[1])) != (first, second) {
            return None;
        }
        let mut rest = text.clone();
        let whole = emoticon.chars().all(|ch| rest.next() == Some(ch));
        let ends_in_word = emoticon.ends_with(|ch: char| ch.is_alphanumeric());
        // `:/` begins the rest of an address, `:D` the rest of a word, `(:` a list.
        let apart = match rest.next() {
            None => true,
            Some(next) if ends_in_word || emoticon.starts_with('(') || emoticon.ends_with('(') => {
                !next.is_alphanumeric()
            }
            Some(next) if emoticon.ends_with('/') => next != '/' && !next.is_alphanumeric(),
            Some(_) => true,
        };
        (whole && apart).then_some((*class, emoticon.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_emoji_has_two_classes_and_every_one_is_drawn() {
        let mut last = '\0';
        for &(ch, name) in CLASSES.iter() {
            assert!(ch != last, "{ch} stands twice, once in {name}");
            assert!(is_pictograph(ch), "{ch} {:x} of {name}", ch as u32);
            last = ch;
        }
    }

    #[test]
    fn longer_emoticons_come_first() {
        for (at, (text, _)) in EMOTICONS.iter().enumerate() {
            assert!(!EMOTICONS[..at].iter().any(|(before, _)| text.starts_with(before)), "{text}");
        }
    }
}
