//! Our side of `benches/peers/run.py`: prints one JSON object with our figures, in seconds unless the name says
//! otherwise. `cargo bench --bench peer_side -- --model DIR --data ARCHIVE --work DIR [--only KEY…]`
//!
//! Every figure is the best of several runs; what is read and timed is the reference model on real reviews, and, for
//! the wide shape, weights drawn at random.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::rnn::{LSTMConfig, RNN};
use candle_nn::{Module, Optimizer, VarBuilder, VarMap};
use imdb_sentiment::model::{
    Array, Config, Engine, Network, Padding, Pooling, RecurrentPrecision, load_directory,
};
use imdb_sentiment::predict::{Predictor, Truncate};
use imdb_sentiment::train::{
    Corpus, OptimizerConfig, Rule, StatefulOptimizer, Variables, binary_cross_entropy,
};

#[path = "limit.rs"]
mod limit;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Shortest time in seconds of `work` over at least `runs` runs and a second.
fn best(runs: usize, mut work: impl FnMut()) -> f64 {
    let (mut best, mut done) = (f64::INFINITY, 0);
    let start = Instant::now();
    while done < runs || (start.elapsed() < Duration::from_secs(1) && done < 1000 * runs) {
        let from = Instant::now();
        work();
        best = best.min(from.elapsed().as_secs_f64());
        done += 1;
    }
    best
}

struct Arguments {
    model: PathBuf,
    default: PathBuf,
    data: PathBuf,
    work: PathBuf,
    only: Vec<String>,
}

impl Arguments {
    fn parse() -> Self {
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        let mut parsed = Self {
            model: "models/keras-imdb".into(),
            default: "models/imdb".into(),
            data: "../shared/imdb/aclImdb_train.tar.gz".into(),
            work: "target/peers-work".into(),
            only: Vec::new(),
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().unwrap_or_else(|| panic!("{name} wants a value"));
            match name.as_str() {
                "--model" => parsed.model = value.into(),
                "--default" => parsed.default = value.into(),
                "--data" => parsed.data = value.into(),
                "--work" => parsed.work = value.into(),
                "--only" => parsed.only.push(value),
                _ => panic!("unknown argument {name}"),
            }
        }
        parsed
    }
}

fn main() {
    let arguments = Arguments::parse();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let mut figures = serde_json::Map::new();
    figures.insert("cpu".into(), cpu().into());
    figures.insert("threads".into(), threads.into());
    let wanted = |key: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == key);

    let files = load_directory(&arguments.model).unwrap_or_else(|e| panic!("{e}"));
    let (config, tensors, ngrams) = (files.config.clone(), files.tensors.clone(), files.ngrams.clone());
    let predictor = Predictor::new(files);
    let corpus = Corpus::read(&arguments.data, false).unwrap_or_else(|e| panic!("{e}"));
    let texts: Vec<&str> = corpus.train.iter().map(|review| review.text.as_str()).collect();
    let encoded: Vec<Vec<u32>> = texts
        .iter()
        .map(|text| predictor.encode(text, Truncate::Tail).unwrap().windows()[0].clone())
        .collect();

    // The same reviews for the peers: every n-th, so that both classes and all lengths are there.
    let some = |count: usize| encoded.iter().step_by(encoded.len() / count).take(count).collect::<Vec<_>>();
    let (reviews_2000, batch_32) = (some(2000), some(32));
    std::fs::create_dir_all(&arguments.work).unwrap();
    for (name, reviews) in [("reviews_2000.jsonl", &reviews_2000), ("batch_32.jsonl", &batch_32)] {
        write_ids(&arguments.work.join(name), reviews.iter().copied());
    }
    let mut put = |key: &str, figure: &mut dyn FnMut() -> f64| {
        if wanted(key) {
            let value = figure();
            eprintln!("  {key}: {value:.3e}");
            figures.insert(key.into(), value.into());
        }
    };

    let engine = Engine::new(&config, tensors.clone(), ngrams);
    let full: Vec<u32> = reviews_2000.iter().copied().flatten().copied().take(config.max_length).collect();
    put("one_review_500", &mut || best(200, || drop(black_box(engine.logits(&[black_box(&full)])))));
    put("mac_limit_500", &mut || limit::multiply_add_limit(config.max_length, config.hidden_size));
    put("reviews_2000", &mut || {
        best(5, || reviews_2000.iter().for_each(|ids| drop(black_box(engine.logits(&[ids])))))
    });
    put("mac_limit_2000", &mut || {
        limit::multiply_add_limit(reviews_2000.iter().map(|ids| ids.len()).sum(), config.hidden_size)
    });
    put("reviews_25000_end_to_end", &mut || {
        best(3, || drop(black_box(score_all(&predictor, &texts, threads))))
    });
    let encoding_rate = |predictor: &Predictor| {
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        let seconds = best(5, || {
            texts.iter().for_each(|text| drop(black_box(predictor.encode(text, Truncate::Tail))));
        });
        bytes as f64 / seconds
    };
    put("tokenizer_bytes_per_second", &mut || encoding_rate(&predictor));
    put("default_tokenizer_bytes_per_second", &mut || {
        encoding_rate(&Predictor::load(&arguments.default).unwrap_or_else(|e| panic!("{e}")))
    });
    put("candle_nn_one_review_500", &mut || candle_nn_forward(&config, &tensors, &full));
    put("candle_nn_train_step_128", &mut || candle_nn_step(&config, &encoded, threads));
    put("train_epoch_reference", &mut || epoch(&config, &encoded, threads));
    put("train_peak_memory_bytes", &mut peak_memory_bytes);
    put("default_500", &mut || default_model(&arguments, &texts));
    let wide = Config {
        embedding_dim: 256,
        hidden_size: 256,
        bidirectional: true,
        pooling: Pooling::MaxMean,
        padding: Padding::None,
        ..config.clone()
    };
    let variables = Variables::initial(&wide, 1).unwrap();
    let batch: Vec<&[u32]> = batch_32.iter().map(|ids| ids.as_slice()).collect();
    put("big_forward_32", &mut || {
        let engine = Engine::new(&wide, variables.to_arrays().unwrap(), None);
        best(3, || drop(black_box(engine.logits_on(&batch, threads))))
    });
    put("big_forward_32_int8", &mut || {
        let config = Config { recurrent_precision: RecurrentPrecision::Int8, ..wide.clone() };
        let engine = Engine::new(&config, variables.to_arrays().unwrap(), None);
        best(3, || drop(black_box(engine.logits_on(&batch, threads))))
    });
    put("big_train_step_32", &mut || {
        let network = Network::new(&wide, threads, variables.builder()).unwrap();
        let mut optimizer = adam(variables.vars());
        best(3, || step(&network, &batch, &mut optimizer))
    });
    println!("{}", serde_json::Value::Object(figures));
}

/// Leaves reviews as ids for the peers.
fn write_ids<'r>(path: &Path, reviews: impl IntoIterator<Item = &'r Vec<u32>>) {
    let mut file = std::fs::File::create(path).unwrap();
    reviews.into_iter().for_each(|ids| writeln!(file, "{}", serde_json::json!({ "ids": ids })).unwrap());
}

/// 500 reviews one by one by the default model, n-grams included; leaves its weights and their ids for the peers.
fn default_model(arguments: &Arguments, texts: &[&str]) -> f64 {
    let files = load_directory(&arguments.default).unwrap_or_else(|e| panic!("{e}"));
    let weights = arguments.default.join("model.safetensors");
    std::fs::copy(weights, arguments.work.join("default.safetensors")).unwrap();
    let (config, tensors, ngrams) = (files.config.clone(), files.tensors.clone(), files.ngrams.clone());
    let (predictor, engine) = (Predictor::new(files), Engine::new(&config, tensors, ngrams));
    let some = texts.iter().step_by(texts.len() / 500).take(500);
    let encode = |text: &&str| predictor.encode(text, Truncate::Tail).unwrap().windows()[0].clone();
    let reviews: Vec<Vec<u32>> = some.map(encode).collect();
    write_ids(&arguments.work.join("default_500.jsonl"), &reviews);
    best(3, || reviews.iter().for_each(|ids| drop(black_box(engine.logits(&[ids])))))
}

/// Tokenizes and scores every text, in parallel.
fn score_all(predictor: &Predictor, texts: &[&str], threads: usize) -> Vec<f32> {
    let share = texts.len().div_ceil(threads * 16);
    let queue = std::sync::Mutex::new(texts.chunks(share));
    let run = || {
        let mut scores = Vec::new();
        loop {
            let Some(chunk) = queue.lock().unwrap().next() else { return scores };
            let encode = |text: &&str| predictor.encode(text, Truncate::Tail).unwrap();
            let encodings: Vec<_> = chunk.iter().map(encode).collect();
            scores.extend(predictor.run(&encodings).iter().map(|prediction| prediction.probability));
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mut scores = run();
        others.into_iter().for_each(|other| scores.extend(other.join().unwrap()));
        scores
    })
}

fn adam(vars: Vec<Var>) -> StatefulOptimizer {
    let rule = Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
    StatefulOptimizer::new(vars, OptimizerConfig { learning_rate: 1e-3, rule }).unwrap()
}

/// One training step on labels that alternate.
fn step(network: &Network, batch: &[&[u32]], optimizer: &mut StatefulOptimizer) {
    let targets: Vec<f32> = (0..batch.len()).map(|at| (at % 2) as f32).collect();
    let logits = network.forward(batch).unwrap();
    let loss = binary_cross_entropy(&logits, &targets, &vec![1.0; batch.len()]).unwrap();
    optimizer.step(&loss.backward().unwrap()).unwrap();
}

/// One epoch of the reference preset, all in: 20,000 reviews in batches of 128, RMSprop.
fn epoch(config: &Config, encoded: &[Vec<u32>], threads: usize) -> f64 {
    let variables = Variables::initial(config, 1).unwrap();
    let network = Network::new(config, threads, variables.builder()).unwrap();
    let rule = Rule::RmsProp { rho: 0.9, epsilon: 1e-7, epsilon_in_root: true };
    let settings = OptimizerConfig { learning_rate: 1e-3, rule };
    let mut optimizer = StatefulOptimizer::new(variables.vars(), settings).unwrap();
    // Every fifth review is held out, as in the preset.
    let train: Vec<&[u32]> =
        encoded.iter().enumerate().filter(|(at, _)| at % 5 > 0).map(|(_, ids)| ids.as_slice()).collect();
    best(2, || train.chunks(128).for_each(|batch| step(&network, batch, &mut optimizer)))
}

/// candle-nn's own LSTM over one review.
fn candle_nn_forward(config: &Config, tensors: &BTreeMap<String, Array>, full: &[u32]) -> f64 {
    let map = tensors
        .iter()
        .map(|(name, array)| {
            let tensor = Tensor::from_slice(&array.data, array.shape.as_slice(), &Device::Cpu).unwrap();
            (name.clone(), tensor)
        })
        .collect();
    let weights = VarBuilder::from_tensors(map, DType::F32, &Device::Cpu);
    let lstm = LSTMConfig { b_hh_init: None, ..LSTMConfig::default() };
    let (size, hidden) = (config.embedding_dim, config.hidden_size);
    let lstm = candle_nn::rnn::lstm(size, hidden, lstm, weights.pp("lstm")).unwrap();
    let embedding = candle_nn::embedding(config.vocab_size, size, weights.pp("embedding")).unwrap();
    let ids = Tensor::from_slice(full, (1, full.len()), &Device::Cpu).unwrap();
    best(3, || drop(black_box(lstm.seq(&embedding.forward(&ids).unwrap()).unwrap())))
}

/// One training step of 128 padded reviews with candle-nn's own LSTM.
fn candle_nn_step(config: &Config, encoded: &[Vec<u32>], _threads: usize) -> f64 {
    let map = VarMap::new();
    let weights = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    let (size, hidden) = (config.embedding_dim, config.hidden_size);
    let lstm = candle_nn::rnn::lstm(size, hidden, LSTMConfig::default(), weights.pp("lstm")).unwrap();
    let embedding = candle_nn::embedding(config.vocab_size, size, weights.pp("embedding")).unwrap();
    let dense = candle_nn::linear(hidden, 1, weights.pp("classifier")).unwrap();
    let mut ids = vec![0u32; 128 * config.max_length];
    for (row, review) in ids.chunks_exact_mut(config.max_length).zip(encoded.iter().step_by(190)) {
        row[config.max_length - review.len()..].copy_from_slice(review);
    }
    let ids = Tensor::from_vec(ids, (128, config.max_length), &Device::Cpu).unwrap();
    let targets: Vec<f32> = (0..128).map(|at| (at % 2) as f32).collect();
    let mut optimizer = candle_nn::SGD::new(map.all_vars(), 1e-3).unwrap();
    let from = Instant::now();
    let states = lstm.seq(&embedding.forward(&ids).unwrap()).unwrap();
    let logits = dense.forward(states[states.len() - 1].h()).unwrap().squeeze(1).unwrap();
    let loss = binary_cross_entropy(&logits, &targets, &[1.0; 128]).unwrap();
    optimizer.backward_step(&loss).unwrap();
    from.elapsed().as_secs_f64()
}

/// The most memory that this process has held so far (Linux; 0 elsewhere).
fn peak_memory_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0
}

fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    format!(
        "{} ({})",
        name.trim_start_matches([' ', '\t', ':']),
        imdb_sentiment::kernel::Isa::current().name()
    )
}
