//! What a token costs: verified for the first time, by algorithm, beside another library; known already; and a right asked.
//!
//! `cargo bench --bench token`. The tokens are those of `tests/tokens/`, of 350 to 650 bytes.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use criterion::{BenchmarkId, Criterion};
use jsonwebtoken::{DecodingKey, Validation};

use fanfare::hub::ChannelName;
use fanfare::token::{Algorithm, KeyFiles, Keys, Known, Right, Token, TokenDigest};

const RECORDED: &str = include_str!("../tests/tokens/recorded.txt");

/// When the tokens were issued.
const NOW_S: u64 = 1_790_000_000;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .without_plots()
        .configure_from_args();
    let set = include_bytes!("../tests/tokens/keys.json");
    let keys = KeyFiles::read([("keys.json", &set[..])]).expect("the keys are good").keys;
    bench_first(&mut criterion, &keys);
    bench_known(&mut criterion, keys);
    bench_right(&mut criterion);
    criterion.final_summary();
}

/// The first token of the algorithm.
fn recorded(algorithm: Algorithm) -> &'static str {
    let lines = RECORDED.lines().filter_map(|line| {
        let (library_and_algorithm, token) = line.rsplit_once(' ')?;
        library_and_algorithm.ends_with(algorithm.name()).then_some(token)
    });
    lines.into_iter().next().expect("one of each is recorded")
}

/// That library reads the claims as well, and does not ask for the time here.
fn bench_first(criterion: &mut Criterion, keys: &Keys) {
    let mut group = criterion.benchmark_group("first");
    for algorithm in Algorithm::ALL {
        let token = recorded(algorithm);
        group.bench_function(BenchmarkId::new("fanfare", algorithm), |bencher| {
            bencher.iter(|| black_box(Token::verify(black_box(token), keys)).expect("it is signed"));
        });
        let (theirs, key) = theirs(algorithm);
        let mut validation = Validation::new(theirs);
        (validation.validate_exp, validation.validate_aud) = (false, false);
        group.bench_function(BenchmarkId::new("jsonwebtoken", algorithm), |bencher| {
            bencher.iter(|| {
                jsonwebtoken::decode::<serde_json::Value>(black_box(token), &key, &validation)
                    .expect("it is signed")
            });
        });
        // The last character but one: the signature is another, of the right form.
        let forged = format!("{}AA", &token[..token.len() - 2]);
        group.bench_function(BenchmarkId::new("forged", algorithm), |bencher| {
            bencher.iter(|| black_box(Token::verify(black_box(&forged), keys)).expect_err("it is forged"));
        });
    }
    group.finish();
}

fn theirs(algorithm: Algorithm) -> (jsonwebtoken::Algorithm, DecodingKey) {
    let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let (algorithm, key) = match algorithm {
        Algorithm::Hs256 => {
            let secret = BASE64_URL_SAFE_NO_PAD.decode(secret).expect("it is base64url");
            (jsonwebtoken::Algorithm::HS256, Ok(DecodingKey::from_secret(&secret)))
        }
        Algorithm::Es256 => (
            jsonwebtoken::Algorithm::ES256,
            DecodingKey::from_ec_pem(include_bytes!("../tests/tokens/es256.pub.pem")),
        ),
        Algorithm::EdDsa => (
            jsonwebtoken::Algorithm::EdDSA,
            DecodingKey::from_ed_pem(include_bytes!("../tests/tokens/eddsa.pub.pem")),
        ),
        Algorithm::Rs256 => (
            jsonwebtoken::Algorithm::RS256,
            DecodingKey::from_rsa_pem(include_bytes!("../tests/tokens/rs256.pub.pem")),
        ),
    };
    (algorithm, key.expect("the key is good"))
}

/// Found among 10,000, with the hash, and checked against the time.
#[allow(clippy::print_stdout)]
fn bench_known(criterion: &mut Criterion, keys: Keys) {
    let mut known = Known::new(Arc::new(keys));
    let mut group = criterion.benchmark_group("known");
    for algorithm in Algorithm::ALL {
        let token = recorded(algorithm);
        let verified = Arc::new(Token::verify(token, &known.keys()).expect("it is signed"));
        known.keep(TokenDigest::of(token), &verified, NOW_S);
        for at in known.len()..10_000 {
            known.keep(TokenDigest::of(&at.to_string()), &verified, NOW_S);
        }
        group.bench_function(BenchmarkId::new("fanfare", algorithm), |bencher| {
            bencher.iter(|| {
                let found = known.find(TokenDigest::of(black_box(token))).expect("it is known");
                found.claims.check(Some("fanfare"), black_box(NOW_S)).expect("it is time");
                found
            });
        });
    }
    group.finish();
    println!("10,000 known tokens of three globs and an info hold {} bytes", known.held_len());
}

/// A channel that the last of so many globs fits.
fn bench_right(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("right");
    for len in [1, 4, 64] {
        let mut globs: Vec<_> = (1..len).map(|at| format!("\"room-{at}-*\"")).collect();
        globs.push("\"chat-*\"".to_owned());
        let text = format!(r#"{{"exp":1,"iat":1,"fanfare":{{"subscribe":[{}]}}}}"#, globs.join(","));
        let claims = fanfare::token::Claims::parse(text.as_bytes()).expect("they are good");
        let channel = ChannelName::new("chat-0123456789").expect("it is a name");
        group.bench_function(BenchmarkId::new("fanfare", len), |bencher| {
            bencher.iter(|| claims.grants.check(Right::Subscribe, black_box(&channel), claims.holder()));
        });
    }
    group.finish();
}
