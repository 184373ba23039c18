//! Pieces of words, learnt from the words that a vocabulary has no room for.

use std::collections::{BTreeSet, HashMap};

use crate::text::{JOINT, PIECE_LETTERS, for_each_piece, piece_key};

/// Shares of the pieces looked for that are merged first; those that the longest-first cut seldom uses fall away.
const SURPLUS: usize = 2;
/// Longest word that is learnt from, in bytes: longer ones are seldom words.
const WORD_BYTES: usize = 24;

/// Pieces that are always there: every letter and digit, at a word's start and inside.
pub const LETTER_PIECES: usize = 2 * (26 + 10);

/// A piece: its letters, and whether it stands at a word's start.
type Piece = (Vec<u8>, bool);

/// The pieces of `words` (each with its count, alphabetical), at most `number` and single letters and digits among them
/// in any case, as they stand in a vocabulary; ordered by use, equals alphabetically.
///
/// Byte-pair encoding (Sennrich et al. 2016): the most frequent pair of neighbours becomes a piece, over and over. What
/// reads words takes the longest piece instead, so that twice as many are merged and the ones kept that it uses most.
pub fn learn_pieces(words: &[(String, u64)], number: usize) -> Vec<String> {
    let words: Vec<(&[u8], u64)> = words
        .iter()
        .map(|(word, count)| (word.as_bytes(), *count))
        .filter(|(word, _)| (2..=WORD_BYTES).contains(&word.len()) && word.iter().all(u8::is_ascii_lowercase))
        .collect();
    let letters: Vec<Piece> = (b'a'..=b'z')
        .chain(b'0'..=b'9')
        .flat_map(|byte| [true, false].map(|first| (vec![byte], first)))
        .collect();
    let mut kept: BTreeSet<Piece> = letters.iter().cloned().collect();
    let room = number.saturating_sub(letters.len());
    let merged = merge(&words, room * SURPLUS);
    kept.extend(merged.iter().cloned());
    // Fewer pieces are used otherwise, so that the least used go in steps.
    while kept.len() > letters.len() + room {
        let uses = count_uses(&words, &kept);
        let mut by_use: Vec<&Piece> = kept.iter().filter(|piece| piece.0.len() > 1).collect();
        by_use.sort_by_key(|piece| uses.get(*piece).copied().unwrap_or(0));
        let surplus = by_use.len() - room;
        let going = surplus.div_ceil(2).max(surplus.min(50));
        let least: Vec<Piece> = by_use.iter().take(going).map(|piece| (*piece).clone()).collect();
        kept.retain(|piece| !least.contains(piece));
    }
    let uses = count_uses(&words, &kept);
    let mut kept: Vec<(u64, Piece)> =
        kept.into_iter().map(|piece| (uses.get(&piece).copied().unwrap_or(0), piece)).collect();
    kept.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    kept.into_iter().map(|(_, piece)| written(&piece)).collect()
}

fn written((letters, first): &Piece) -> String {
    let letters = String::from_utf8_lossy(letters);
    match first {
        true => format!("{letters}{JOINT}"),
        false => format!("{JOINT}{letters}"),
    }
}

/// How often each piece is used when `words` are cut into the longest ones.
fn count_uses(words: &[(&[u8], u64)], pieces: &BTreeSet<Piece>) -> HashMap<Piece, u64> {
    let pieces: Vec<&Piece> = pieces.iter().collect();
    let ids: HashMap<_, u32> =
        (0..).zip(&pieces).map(|(id, (letters, first))| (key(letters, *first), id)).collect();
    let mut uses = vec![0; pieces.len()];
    for (word, count) in words {
        for_each_piece(
            word,
            |key| ids.get(&(key.value, key.length)).copied(),
            |id, _| uses[id as usize] += count,
        );
    }
    pieces.into_iter().cloned().zip(uses).collect()
}

fn key(letters: &[u8], first: bool) -> (u64, u32) {
    let key = piece_key(letters, first);
    (key.value, key.length)
}

/// The pieces that `number` merges make, none longer than [`PIECE_LETTERS`].
fn merge(words: &[(&[u8], u64)], number: usize) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut id_of: HashMap<Piece, u32> = HashMap::new();
    let mut id = |piece: Piece, pieces: &mut Vec<Piece>| {
        *id_of.entry(piece.clone()).or_insert_with(|| {
            pieces.push(piece);
            pieces.len() as u32 - 1
        })
    };
    let mut cut: Vec<Vec<u32>> = words
        .iter()
        .map(|(word, _)| {
            word.iter().enumerate().map(|(at, byte)| id((vec![*byte], at == 0), &mut pieces)).collect()
        })
        .collect();
    let mut counts: HashMap<(u32, u32), u64> = HashMap::new();
    let mut places: HashMap<(u32, u32), BTreeSet<u32>> = HashMap::new();
    for (place, (word, (_, count))) in cut.iter().zip(words).enumerate() {
        for pair in word.windows(2) {
            *counts.entry((pair[0], pair[1])).or_default() += count;
            places.entry((pair[0], pair[1])).or_default().insert(place as u32);
        }
    }
    // The most frequent pair comes last; of equals the one whose pieces were met last.
    let mut order: BTreeSet<(u64, (u32, u32))> = counts.iter().map(|(pair, count)| (*count, *pair)).collect();
    let mut merged = Vec::new();
    while merged.len() < number
        && let Some((_, pair)) = order.pop_last()
    {
        let (left, right) = (&pieces[pair.0 as usize], &pieces[pair.1 as usize]);
        counts.remove(&pair);
        let held = places.remove(&pair).unwrap_or_default();
        if left.0.len() + right.0.len() > PIECE_LETTERS {
            continue;
        }
        let piece = ([&left.0[..], &right.0[..]].concat(), left.1);
        let whole = id(piece.clone(), &mut pieces);
        if !merged.contains(&piece) {
            merged.push(piece);
        }
        for place in held {
            let count = words[place as usize].1;
            let word = &mut cut[place as usize];
            let mut change = |a: u32, b: u32, up: bool| {
                let sum = counts.entry((a, b)).or_default();
                order.remove(&(*sum, (a, b)));
                *sum = if up { *sum + count } else { sum.saturating_sub(count) };
                if *sum > 0 && (a, b) != pair {
                    order.insert((*sum, (a, b)));
                }
                if up {
                    places.entry((a, b)).or_default().insert(place);
                }
            };
            word.windows(2).for_each(|two| change(two[0], two[1], false));
            let mut at = 0;
            while at + 1 < word.len() {
                if (word[at], word[at + 1]) == pair {
                    word[at] = whole;
                    word.remove(at + 1);
                }
                at += 1;
            }
            word.windows(2).for_each(|two| change(two[0], two[1], true));
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_parts_become_pieces_and_letters_are_always_there() {
        let words = ["unwatchable", "unreadable", "unbearable", "unspeakable", "workable"]
            .map(|word| (word.to_string(), 3));
        let pieces = learn_pieces(&words, 76);
        assert_eq!(pieces.len(), 76);
        assert_eq!(learn_pieces(&words, 76), pieces);
        for expected in ["un##", "##able", "a##", "##z", "0##"] {
            assert!(pieces.iter().any(|piece| piece == expected), "{expected} in {pieces:?}");
        }
    }
}
