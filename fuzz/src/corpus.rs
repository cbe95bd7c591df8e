//! The saved corpus in an ordinary test: every file as it is, and in a number of small variations that are the same each time.

use std::path::Path;

/// Variations of each file.
const VARIATIONS: u64 = 100;

/// Hands every file of a target's corpus, and its variations, to `check`.
pub(crate) fn run(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("a corpus")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let bytes = std::fs::read(&path).expect("a file");
        check(&bytes);
        for seed in 0..VARIATIONS {
            check(&varied(&bytes, seed));
        }
    }
}

/// A few bytes changed, taken out, doubled, or the end cut off.
fn varied(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut below = move |limit: usize| {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) as usize) % limit.max(1)
    };
    let mut bytes = bytes.to_vec();
    for _ in 0..=below(4) {
        let at = below(bytes.len());
        let end = (at + 1 + below(16)).min(bytes.len());
        if at >= end {
            break;
        }
        match below(5) {
            0 => bytes[at] ^= 1 << below(8),
            1 => bytes[at] = b"\0/.:@09\xff\"{}[]"[below(13)],
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => bytes.truncate(end),
        }
    }
    bytes
}
