use super::*;

fn options(texts: [&str; 4]) -> Vec<String> {
    texts.map(str::to_owned).into()
}

/// What `extract_responses` of MuChoMusic's `scoring.py` (commit 51d5160) returns for each, -1 being
/// none.
#[test]
fn muchomusics_rule() {
    let options = options(["Jazz", "Rock and roll", "Rock", "Ambient pop"]);
    for (answer, found) in [
        ("A", Some(0)),
        ("(B)", Some(1)),
        ("The correct answer is: C", Some(2)),
        ("I think it is D, yes", Some(3)),
        ("A or B", None),
        // A letter is one even within a word.
        ("Blues", Some(1)),
        ("A jazz tune", Some(0)),
        ("Both Ambient pop and Jazz", Some(0)),
        // The first option that is in it, not the one that is more like it.
        ("rock", Some(2)),
        ("ROCK and roll", Some(2)),
        ("rock and roll", Some(1)),
        ("it is jazz", Some(0)),
        ("Jazz\n", Some(0)),
        ("none", None),
        ("a", None),
        ("E", None),
        ("", None),
        (
            "The correct answer is: A. The correct answer is: D",
            Some(3),
        ),
        ("B. Rock", Some(1)),
    ] {
        assert_eq!(muchomusic(answer, &options), found, "{answer:?}");
    }
}

/// What `string_match` of MMAU's `evaluation.py` returns for each.
#[test]
fn mmaus_rule() {
    let choices = options(["A minor", "C major", "C minor", "Two drums"]);
    for (right, answer, is_right) in [
        ("A minor", "A minor", true),
        ("A minor", "(A) A minor", true),
        ("C minor", "c MINOR.", true),
        ("C major", "It is in C major", true),
        ("C major", "C", false),
        ("A minor", "a minor or c", false),
        // A word goes on over an underscore.
        ("Two drums", "two_drums", false),
        ("Two drums", "drums, two of them", true),
        ("Two drums", "", false),
        ("Two drums", "(D) Two drums", true),
        // Its letter is a word of another choice.
        ("Two drums", "(A) Two drums", false),
        ("C major", "C major minor", false),
    ] {
        assert_eq!(
            mmau(answer, right, &choices),
            is_right,
            "{right}: {answer:?}"
        );
    }
    let same = options(["x y", "y x", "z", "w"]);
    assert!(mmau("Y-x", "x y", &same));
}

#[test]
fn the_last_letter_in_parentheses() {
    let options = options(["0:04", "0:12", "0:19", "0:25"]);
    for (answer, found) in [
        ("0:12 (B)", Some(1)),
        ("(A) or rather (C)", Some(2)),
        ("(C), not (A), so (C)", Some(2)),
        ("0:12 (E)", Some(1)),
        ("(b)", None),
    ] {
        assert_eq!(lenient(answer, &options), found, "{answer:?}");
    }
}

#[test]
fn else_a_letter_that_stands_alone() {
    let options = options(["guitar", "piano", "drums", "bass"]);
    for (answer, found) in [
        ("B", Some(1)),
        ("B.", Some(1)),
        ("The answer is D", Some(3)),
        ("A", Some(0)),
        ("A: guitar", Some(0)),
        // An article.
        ("A piano", Some(1)),
        ("B or C", None),
        ("Bass", Some(3)),
        ("Either B or the drums, so B", Some(1)),
    ] {
        assert_eq!(lenient(answer, &options), found, "{answer:?}");
    }
}

#[test]
fn else_the_only_text() {
    let times = options(["0:04", "0:12", "1:04", "0:1"]);
    for (answer, found) in [
        ("at 0:12", Some(1)),
        ("At 0:04, or 0:12", None),
        ("10:04", None),
        ("1:04.", Some(2)),
        ("0:1", Some(3)),
        ("It never does", None),
        ("", None),
    ] {
        assert_eq!(lenient(answer, &times), found, "{answer:?}");
    }
    let instruments = options(["drums", "Drums and bass", "bass", ""]);
    for (answer, found) in [
        ("drums and bass", Some(1)),
        ("the drums", Some(0)),
        ("the drums, then drums and bass", None),
        ("eardrums", None),
    ] {
        assert_eq!(lenient(answer, &instruments), found, "{answer:?}");
    }
}

#[test]
fn strict_answers_are_nothing_else() {
    let options = options(["0:04", "0:12", "0:19", "0:12"]);
    for (answer, last, first, text) in [
        ("0:12 (B)", Some(1), None, None),
        ("0:12 (D)", Some(3), None, None),
        (" (C)\n", Some(2), Some(2), Some(2)),
        ("A", Some(0), Some(0), Some(0)),
        ("(B) 0:12", None, Some(1), Some(1)),
        ("0:04", None, None, Some(0)),
        // Two options have it.
        ("0:12", None, None, None),
        // The text is another's.
        ("0:04 (B)", None, None, None),
        ("0:12 (B).", None, None, None),
        ("(E)", None, None, None),
        ("b", None, None, None),
        ("", None, None, None),
    ] {
        let found = |forms| strict(answer, &options, forms);
        assert_eq!(found(Forms::TextThenLetter), last, "{answer:?}");
        assert_eq!(found(Forms::LetterThenText), first, "{answer:?}");
        assert_eq!(found(Forms::LetterOrText), text, "{answer:?}");
    }
}
