//! MusicBench-mini in the tree is what the song maker makes.

use gamut_songs::{Entry, benchmark};
use std::collections::HashSet;
use std::path::Path;

/// Seeds, bounds of the length in seconds, and questions about each piece.
const PARTS: [(std::ops::Range<u64>, (f64, f64), usize); 3] = [
    (0..90, (20.0, 29.9), 8),
    (1000..1030, (45.0, 60.0), 6),
    (2000..2020, (90.0, 120.0), 6),
];

#[test]
fn the_file_can_be_made_again() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/musicbench-mini/questions.json");
    let text = std::fs::read_to_string(path).unwrap();
    let parts = PARTS.into_iter();
    let entries: Vec<Entry> = parts
        .flat_map(|(seeds, length, each)| benchmark(seeds, length, each))
        .collect();
    let made = serde_json::to_string_pretty(&entries).unwrap() + "\n";
    assert!(text == made, "write it again, as its README says");

    let of = |split: &str| entries.iter().filter(|entry| entry.split == split).count();
    assert!(of("Global") >= 300 && of("Temporal") >= 300);
    let names: HashSet<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(names.len(), entries.len());
}
