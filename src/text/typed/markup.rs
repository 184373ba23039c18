//! Tags of HTML and of bulletin boards, which say how a text looks and not what it says.

/// Most characters of a tag or comment.
const TAG_CHARACTERS: usize = 2048;

/// Elements of HTML; `<love>` is none, and somebody's word.
const ELEMENTS: [&str; 88] = [
    "a",
    "abbr",
    "acronym",
    "address",
    "article",
    "aside",
    "b",
    "big",
    "blockquote",
    "body",
    "br",
    "button",
    "caption",
    "center",
    "cite",
    "code",
    "col",
    "dd",
    "del",
    "details",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "embed",
    "fieldset",
    "figcaption",
    "figure",
    "font",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "hr",
    "html",
    "i",
    "iframe",
    "img",
    "input",
    "ins",
    "kbd",
    "label",
    "li",
    "link",
    "main",
    "mark",
    "meta",
    "nav",
    "nobr",
    "object",
    "ol",
    "option",
    "p",
    "param",
    "pre",
    "q",
    "s",
    "samp",
    "script",
    "section",
    "select",
    "small",
    "span",
    "strike",
    "strong",
    "style",
    "sub",
    "summary",
    "sup",
    "svg",
    "table",
    "tbody",
    "td",
    "textarea",
    "th",
    "title",
    "tr",
    "tt",
    "u",
    "ul",
    "wbr",
];

/// Where the tag or comment ends that `characters`, each with what stands for the place behind it, begin with.
pub(super) fn end<P>(mut characters: impl Iterator<Item = (char, P)>) -> Option<P> {
    if characters.next()?.0 != '<' {
        return None;
    }
    // No tag holds another, and so no character is looked at from two of them.
    let mut rest = characters.take(TAG_CHARACTERS).take_while(|(ch, _)| *ch != '<');
    let (mut ch, _) = rest.next()?;
    if ch == '!' {
        return comment_end(rest);
    }
    if ch == '/' {
        ch = rest.next()?.0;
    }
    let mut name = String::new();
    let mut place = None;
    while ch.is_ascii_alphanumeric() && name.len() < 12 {
        name.push(ch.to_ascii_lowercase());
        let next = rest.next()?;
        ch = next.0;
        place = Some(next.1);
    }
    if !ELEMENTS.contains(&name.as_str()) || !matches!(ch, '>' | '/' | ' ' | '\t' | '\n' | '\r') {
        return None;
    }
    if ch == '>' {
        return place;
    }
    rest.find(|(ch, _)| *ch == '>').map(|(_, place)| place)
}

/// The end of `<!-- … -->` or of `<!DOCTYPE …>`.
fn comment_end<P>(rest: impl Iterator<Item = (char, P)>) -> Option<P> {
    let (mut dashes, mut comment, mut seen) = (0, false, 0);
    for (ch, place) in rest {
        if seen == 0 && ch != '-' && !ch.is_ascii_alphabetic() {
            return None;
        }
        comment |= seen == 1 && dashes == 1 && ch == '-';
        if ch == '>' && (!comment || dashes >= 2 && seen > 3) {
            return Some(place);
        }
        dashes = if ch == '-' { dashes + 1 } else { 0 };
        seen += 1;
    }
    None
}
