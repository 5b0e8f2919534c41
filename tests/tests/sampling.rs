//! The same logits give the same token on every device, with the same log-probabilities, bit by bit.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use gamut_kernels::ops::{Draw, Sampled, sample, start_sampling};
use gamut_kernels::{Context, DType, Device, History, Host, Sampling};
use gamut_tests::virtual_gpu;
use std::sync::Arc;

const VOCABULARY: usize = 3_001;
const ROWS: usize = 12;
const ROOM: usize = 1 << 22;

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.next() as usize % choices.len()]
    }

    fn token(&mut self) -> u32 {
        (self.next() % VOCABULARY as u64) as u32
    }

    /// Logits with equal ones, zeros of both signs and banned ones among them.
    fn logits(&mut self) -> Vec<f32> {
        let spread = self.one_of(&[0.01, 1.0, 8.0, 60.0]);
        let mut logits: Vec<f32> = (0..VOCABULARY)
            .map(|_| (self.unit() + self.unit() + self.unit() - 1.5) * spread)
            .collect();
        for special in [0.0, -0.0, f32::NEG_INFINITY, logits[0], logits[1]] {
            for _ in 0..20 {
                let at = self.token() as usize;
                logits[at] = special;
            }
        }
        logits
    }

    fn sampling(&mut self) -> Sampling {
        let mut bias: Vec<(u32, f32)> = Vec::new();
        if self.next().is_multiple_of(2) {
            bias = (0..9)
                .map(|i| (i * 311, self.unit() * 20.0 - 10.0))
                .collect();
            bias.push((7, f32::NEG_INFINITY));
        }
        Sampling {
            temperature: self.one_of(&[0.0, 0.3, 0.7, 1.0, 1.9]),
            top_k: self.one_of(&[0, 0, 1, 20, 300, VOCABULARY - 1, VOCABULARY, usize::MAX]),
            top_p: self.one_of(&[1.0, 1.0, 0.95, 0.5, 1e-6, 0.999_999_94]),
            min_p: self.one_of(&[0.0, 0.0, 0.05, 1.0]),
            repetition_penalty: self.one_of(&[1.0, 1.0, 1.3, 0.7]),
            presence_penalty: self.one_of(&[0.0, 0.5, -2.0]),
            frequency_penalty: self.one_of(&[0.0, 0.1, 2.0]),
            logit_bias: bias,
            seed: self.next(),
        }
    }

    /// Seldom a token.
    fn given(&mut self) -> Option<u32> {
        let token = self.token();
        self.next().is_multiple_of(5).then_some(token)
    }

    /// Sometimes a set of tokens, of most of them or few.
    fn allowed(&mut self) -> Option<Vec<u32>> {
        let words = VOCABULARY.div_ceil(32);
        let set = match self.next() % 4 {
            0 => (0..words)
                .map(|_| self.next() as u32 | self.next() as u32)
                .collect(),
            1 => {
                let mut set = vec![0; words];
                for _ in 0..30 {
                    let token = self.token();
                    set[token as usize / 32] |= 1 << (token % 32);
                }
                set
            }
            _ => return None,
        };
        Some(set)
    }

    fn history(&mut self) -> History {
        let prompt: Vec<u32> = (0..200).map(|_| self.token()).collect();
        let mut history = History::new(&prompt);
        for _ in 0..300 {
            // Some of them again and again.
            let token = self.token() % self.one_of(&[30, VOCABULARY as u32]);
            history.push(token);
        }
        history
    }
}

/// Everything of a sampled token, its numbers as bits.
fn bits(sampled: &Sampled) -> (u32, u32, Vec<(u32, u32)>) {
    let alternatives = sampled.alternatives.iter();
    let alternatives = alternatives.map(|(token, x)| (*token, x.to_bits()));
    (
        sampled.token,
        sampled.logprob.to_bits(),
        alternatives.collect(),
    )
}

#[test]
fn the_same_logits_give_the_same_token_on_every_device() {
    let host = Device::Host(Arc::new(Host::new(2).unwrap()));
    let gpu = virtual_gpu(DType::BF16);
    let mut random = Random(2026);
    let mut tokens = std::collections::BTreeSet::new();
    for round in 0..12 {
        let logits: Vec<f32> = (0..ROWS).flat_map(|_| random.logits()).collect();
        let setups: Vec<(Sampling, History)> = (0..ROWS)
            .map(|_| (random.sampling(), random.history()))
            .collect();
        let sets: Vec<Option<Vec<u32>>> = (0..ROWS).map(|_| random.allowed()).collect();
        let draws: Vec<Draw<'_>> = setups
            .iter()
            .zip(&sets)
            .map(|((sampling, history), allowed)| Draw {
                alternatives: random.one_of(&[0, 0, 1, 20, 256]),
                given: random.given(),
                allowed: allowed.as_deref(),
                ..Draw::new(sampling, history, random.next())
            })
            .collect();
        let [expected, found] = [&host, &gpu].map(|device| {
            let cx = Context::new(device, ROOM).unwrap();
            let logits = cx.upload_f32(&logits, VOCABULARY).unwrap();
            sample(&cx, &logits, &draws).unwrap()
        });
        for (row, (expected, found)) in expected.iter().zip(&found).enumerate() {
            let draw = &draws[row];
            assert_eq!(
                bits(found),
                bits(expected),
                "round {round}: {:?}, top {}",
                draw.sampling,
                draw.alternatives
            );
            assert!(draw.given.is_none_or(|token| token == found.token));
            let allows =
                |set: &[u32]| set[found.token as usize / 32] >> (found.token % 32) & 1 == 1;
            let allowed = draw.given.is_some() || draw.allowed.is_none_or(allows);
            assert!(allowed, "round {round}: {}", found.token);
            tokens.insert(found.token);
        }
    }
    // Else the draws would say little.
    assert!(tokens.len() > 60, "{} tokens", tokens.len());
}

/// What is in flight needs neither its logits, whose memory others then have, nor its draws.
#[test]
fn tokens_can_be_waited_for_later() {
    let host = Device::Host(Arc::new(Host::new(2).unwrap()));
    for device in [host, virtual_gpu(DType::BF16)] {
        let cx = Context::new(&device, ROOM).unwrap();
        let mut random = Random(7);
        let mut start = |wanted: [usize; 2]| {
            let values = [random.logits(), random.logits()].concat();
            let [(sampling, history), other] =
                [(); 2].map(|()| (random.sampling(), random.history()));
            let draws = [
                Draw {
                    alternatives: wanted[0],
                    ..Draw::new(&sampling, &history, 3)
                },
                Draw {
                    alternatives: wanted[1],
                    ..Draw::new(&other.0, &other.1, 4)
                },
            ];
            let logits = cx.upload_f32(&values, VOCABULARY).unwrap();
            let expected = sample(&cx, &logits, &draws).unwrap();
            (start_sampling(&cx, &logits, &draws).unwrap(), expected)
        };
        let [first, second, dropped] = [[2, 0], [0, 5], [1, 1]].map(&mut start);
        drop(dropped);
        for (pending, expected) in [second, first] {
            let mut chosen = vec![Ok(Sampled::default())];
            pending.wait(&mut chosen).unwrap();
            let chosen: Vec<Sampled> = chosen.into_iter().map(Result::unwrap).collect();
            assert_eq!(chosen, expected);
        }
        // A row that has no token takes none from the others.
        let bad = cx.upload_f32(&[[f32::NAN; 4], [0.0, 1.0, 0.0, 0.0]].concat(), 4);
        let bad = bad.unwrap();
        let (sampling, history) = (Sampling::default(), History::default());
        let draw = Draw::new(&sampling, &history, 0);
        let mut chosen = Vec::new();
        let pending = start_sampling(&cx, &bad, &[draw; 2]).unwrap();
        pending.wait(&mut chosen).unwrap();
        assert_eq!(chosen.pop().unwrap().unwrap().token, 1);
        let message = chosen.pop().unwrap().unwrap_err().to_string();
        assert_eq!(message, "sample: logits of row 0 is NaN, expected numbers");
    }
}
