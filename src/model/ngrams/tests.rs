use std::path::Path;

use proptest::prelude::*;

use super::*;

fn gram(ids: &[u32], ratio: f32, weight: f32) -> Ngram {
    Ngram { key: pack_ngram(ids).unwrap(), ratio, weight }
}

fn small() -> NgramTable {
    let grams = [
        gram(&[5], 1.0, 0.5),
        gram(&[6], -2.0, 0.25),
        gram(&[5, 6], 2.0, 1.5),
        gram(&[5, 6, 7], -1.0, 3.0),
        // None of its parts is in the table.
        gram(&[900, 901, 902], 1.5, 2.0),
    ];
    NgramTable::new(&grams, 0.125).unwrap()
}

fn score(table: &NgramTable, ids: &[u32]) -> f32 {
    table.score(ids, &mut Scratch::default())
}

/// The formula, written down naively.
fn plain_score(table: &NgramTable, ids: &[u32]) -> f32 {
    let is_held = |gram: &Ngram| {
        let words = unpack_ngram(gram.key);
        ids.windows(words.len()).any(|window| window == words)
    };
    let held: Vec<Ngram> = table.iter().filter(is_held).collect();
    let length = held.iter().map(|gram| gram.ratio.powi(2)).sum::<f32>().sqrt();
    let sum: f32 = held.iter().map(|gram| gram.ratio * gram.weight).sum();
    table.bias() + if length > 0.0 { sum / length } else { 0.0 }
}

#[test]
fn packing_is_exact_and_refuses_special_and_high_ids() {
    for ids in [&[3][..], &[1_048_575], &[3, 4], &[4, 3], &[9, 9, 9], &[1_048_575; 3]] {
        assert_eq!(unpack_ngram(pack_ngram(ids).unwrap()), ids);
    }
    for ids in [&[][..], &[0], &[1], &[2], &[1 << 20], &[u32::MAX], &[5, 2, 6], &[5, 6, 7, 8]] {
        assert_eq!(pack_ngram(ids), None, "{ids:?}");
    }
    for key in [0, 2, 5 << 20, 5 << 40 | 7, u64::MAX, 1 << 60 | 5] {
        assert!(unpack_ngram(key).is_empty(), "{key}");
    }
    let key = |ids: &[u32]| pack_ngram(ids).unwrap();
    assert_eq!(parts(key(&[5])), (0, 0));
    assert_eq!(parts(key(&[5, 6])), (5, 6));
    assert_eq!(parts(key(&[5, 6, 7])), (key(&[5, 6]), key(&[6, 7])));
}

#[test]
fn a_gram_counts_once_however_often_it_stands() {
    let table = small();
    let once = score(&table, &[1, 5, 6]);
    assert_eq!(once, 0.125 + (0.5 - 0.5 + 3.0) / 3.0);
    assert_eq!(score(&table, &[1, 5, 6, 2, 5, 6, 2, 6, 5]), once);
    let mut places = Vec::new();
    table.index.each_distinct(&[1, 6, 5, 6, 5, 6], &mut Scratch::default(), |place, _| places.push(place));
    assert_eq!(places, [1, 0, 2]);
}

#[test]
fn nothing_known_leaves_the_bias_and_special_ids_part_words() {
    let table = small();
    for ids in [&[][..], &[1], &[1, 2, 8, 0], &[1, 900, 901, 5_000_000], &[u32::MAX; 4]] {
        assert_eq!(score(&table, ids), 0.125, "{ids:?}");
    }
    assert_eq!(score(&table, &[5, 2, 6]), score(&table, &[6, 5]));
    assert_eq!(score(&table, &[1, 900, 901, 902]), 0.125 + 2.0);
    for part in [0, 1, 2, 1 << 20] {
        assert_eq!(score(&table, &[900, part, 901, 902]), 0.125);
    }
    assert_eq!(score(&NgramTable::new(&[], 1.5).unwrap(), &[1, 5, 6]), 1.5);
    assert_eq!(score(&NgramTable::new(&[gram(&[5], 0.0, 9.0)], 1.5).unwrap(), &[1, 5]), 1.5);
}

#[test]
fn one_scratch_serves_many_tables_and_more_reviews_than_it_can_number() {
    let other = NgramTable::new(&[gram(&[6], 1.0, 1.0), gram(&[7], 1.0, 1.0)], 0.0).unwrap();
    let mut scratch = Scratch::default();
    for _ in 0..3 {
        assert_eq!(other.score(&[6, 7], &mut scratch), score(&other, &[6, 7]));
        assert_eq!(small().score(&[1, 5, 6, 7], &mut scratch), score(&small(), &[1, 5, 6, 7]));
        // The number of the next review but one is again 1, that of a review long past.
        scratch.review = u32::MAX;
    }
}

#[test]
fn scaling_scales_the_score() {
    let scaled = small().scaled(2.0).unwrap();
    for ids in [&[1][..], &[1, 5, 6, 7], &[1, 6]] {
        assert_eq!(score(&scaled, ids), 2.0 * score(&small(), ids));
    }
    assert!(small().scaled(f32::MAX).is_err());
    assert!(small().scaled(f32::NAN).is_err());
}

#[test]
fn a_table_refuses_grams_that_are_none_and_values_that_do_not_fit() {
    assert!(NgramTable::new(&[gram(&[5], 1.0, 1.0), gram(&[5], 2.0, 1.0)], 0.0).is_err());
    assert!(NgramTable::new(&[Ngram { key: 2, ratio: 1.0, weight: 1.0 }], 0.0).is_err());
    assert!(NgramTable::new(&[gram(&[5], 1e6, 1.0)], 0.0).is_err());
    assert!(NgramTable::new(&[gram(&[5], 1.0, f32::NAN)], 0.0).is_err());
    assert!(NgramTable::new(&[], f32::INFINITY).is_err());
}

#[test]
fn a_file_comes_back_as_it_was() {
    for table in [small(), NgramTable::new(&[], -0.5).unwrap()] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), table.to_bytes()).unwrap();
        let back = NgramTable::load(file.path()).unwrap();
        assert_eq!(back, table);
        assert_eq!(back.to_bytes(), table.to_bytes());
        assert_eq!(score(&back, &[1, 5, 6, 7]), score(&table, &[1, 5, 6, 7]));
    }
    assert_eq!((small().len(), small().highest_id()), (5, 902));
}

#[test]
fn a_file_of_something_else_is_refused_by_name() {
    let read = |tensors: Vec<(&str, &str, Vec<usize>, Vec<u8>)>, count: &str| {
        let metadata = BTreeMap::from([("count".to_string(), count.to_string())]);
        let bytes = safetensors_bytes(&metadata, tensors);
        NgramTable::from_bytes(Path::new("some/ngrams.safetensors"), &bytes).map_err(|e| e.to_string())
    };
    let keys = |keys: [u64; 2]| ("key", "I64", vec![2], keys.map(u64::to_le_bytes).concat());
    let value = ("value", "F16", vec![2, 2], vec![0; 8]);
    let bias = ("bias", "F32", vec![1], vec![0; 4]);
    assert_eq!(read(vec![keys([5, 6]), value.clone(), bias.clone()], "2").unwrap().len(), 2);
    let nan = ("value", "F16", vec![2, 2], vec![0xff; 8]);
    let flat = ("value", "F16", vec![4], vec![0; 8]);
    let wide = ("value", "F32", vec![1, 2], vec![0; 8]);
    for (tensors, count, expected) in [
        (vec![keys([5, 6]), value.clone(), bias.clone()], "3", "2 n-grams, the header says 3"),
        (vec![keys([6, 6]), value.clone(), bias.clone()], "2", "keys 0 and 1 do not ascend"),
        (vec![keys([2, 6]), value.clone(), bias.clone()], "2", "key 0 is 2, which is no gram"),
        (vec![keys([5, u64::MAX]), value.clone(), bias.clone()], "2", "key 1 is -1, which is no gram"),
        (vec![keys([5, 6]), nan, bias.clone()], "2", "value 0 is [NaN, NaN]"),
        (vec![keys([5, 6]), flat, bias.clone()], "2", "tensor `value`: shape [4], expected [2, 2]"),
        (vec![keys([5, 6]), wide, bias.clone()], "2", "tensor `value`: type F32, expected F16"),
        (vec![keys([5, 6]), bias.clone()], "2", "tensor `value`: missing"),
        (vec![value.clone(), bias.clone()], "2", "tensor `key`: missing"),
        (vec![keys([5, 6]), value, bias, ("x\ny", "F32", vec![0], vec![])], "2", "tensor `x\\ny`: the model"),
    ] {
        let fault = read(tensors, count).unwrap_err();
        assert!(fault.starts_with("some/ngrams.safetensors: ") && fault.contains(expected), "{fault}");
    }
}

#[test]
fn a_damaged_file_is_refused_or_read_but_never_a_panic() {
    let bytes = small().to_bytes();
    let read = |bytes: &[u8]| NgramTable::from_bytes(Path::new("some/ngrams.safetensors"), bytes);
    for length in 0..bytes.len() {
        let fault = read(&bytes[..length]).unwrap_err().to_string();
        assert!(fault.starts_with("some/ngrams.safetensors: ") && !fault.contains('\n'), "{fault}");
    }
    for at in 0..bytes.len() {
        for flip in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            match read(&damaged) {
                Ok(table) => assert!(score(&table, &[1, 5, 6, 7, 900, 901, 902]).is_finite()),
                Err(fault) => assert!(!fault.to_string().contains('\n'), "{fault}"),
            }
        }
    }
}

proptest! {
    #[test]
    fn the_score_is_the_formula(
        grams in prop::collection::btree_map(prop::collection::vec(3u32..9, 1..4), (-3f32..3.0, -3f32..3.0), 0..60),
        ids in prop::collection::vec(0u32..10, 0..30),
    ) {
        let grams: Vec<Ngram> = grams.iter().map(|(ids, (ratio, weight))| gram(ids, *ratio, *weight)).collect();
        let table = NgramTable::new(&grams, 0.25).unwrap();
        let (fast, plain) = (score(&table, &ids), plain_score(&table, &ids));
        prop_assert!((fast - plain).abs() < 1e-4, "{fast} {plain}");
    }
}
