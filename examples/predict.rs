//! Tells of each line of standard input, or of each argument, how positive it is:
//!
//! ```text
//! cargo run --release --example predict -- "A gripping, beautifully shot film." "Two hours I will not get back."
//! ```

use std::io::BufRead;

use imdb_sentiment::{Error, Predictor};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let predictor = Predictor::load("models/imdb")?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let texts: Box<dyn Iterator<Item = std::io::Result<String>>> = if arguments.is_empty() {
        Box::new(std::io::stdin().lock().lines())
    } else {
        Box::new(arguments.into_iter().map(Ok))
    };
    for text in texts {
        let text = text?;
        match predictor.predict(&text) {
            Ok(prediction) => println!("{} {:.3} {text}", prediction.label(), prediction.score()),
            Err(Error::NoWords) => println!("no words {text}"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
