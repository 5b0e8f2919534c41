//! Which of several processes answers a line.

use std::fmt;
use std::str::FromStr;

/// One of `count` parts of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    index: u32,
    count: u32,
}

impl Shard {
    /// All of the requests.
    pub(super) const WHOLE: Shard = Shard { index: 0, count: 1 };

    /// Whether what has this digest is in the part.
    pub(super) fn has(self, digest: u128) -> bool {
        digest % u128::from(self.count) == u128::from(self.index)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-of-{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let numbers = text
            .split_once('/')
            .and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        match numbers {
            Some((index, count)) if index < count => Ok(Shard { index, count }),
            Some((index, count)) => Err(format!(
                "shard {index} of {count}: expected a shard from 0 to one less than their number"
            )),
            None => Err("expected INDEX/COUNT, such as 0/8".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::digest;

    #[test]
    fn a_shard_is_an_index_below_a_count() {
        let shard = |text: &str| text.parse::<Shard>();
        assert_eq!(shard("3/8"), Ok(Shard { index: 3, count: 8 }));
        assert_eq!(shard("3/8").unwrap().to_string(), "3-of-8");
        for (text, parts) in [
            ("8/8", ["shard 8 of 8", "from 0"]),
            ("0/0", ["shard 0 of 0", "from 0"]),
            ("-1/2", ["INDEX/COUNT", "0/8"]),
            ("1", ["INDEX/COUNT", "0/8"]),
            ("1/99999999999", ["INDEX/COUNT", "0/8"]),
        ] {
            let error = shard(text).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
    }

    #[test]
    fn each_digest_is_in_one_shard_and_each_shard_has_its_share() {
        let shards: Vec<Shard> = (0..7).map(|index| Shard { index, count: 7 }).collect();
        let mut counts = [0; 7];
        for song in 0..7_000 {
            let digest = digest(format!("song{song}.mp3").as_bytes());
            assert!(Shard::WHOLE.has(digest));
            let mine = shards.iter().filter(|shard| shard.has(digest));
            let mine: Vec<_> = mine.map(|shard| shard.index as usize).collect();
            assert_eq!(mine.len(), 1);
            counts[mine[0]] += 1;
        }
        assert!(
            counts.iter().all(|n| (800..1_200).contains(n)),
            "{counts:?}"
        );
    }
}
