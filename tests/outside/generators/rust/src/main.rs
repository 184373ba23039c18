//! Asks a running server through the generated client: URL.

use openapi::apis::Error;
use openapi::apis::configuration::Configuration;
use openapi::apis::open_inference_protocol_api::v2_infer;
use openapi::apis::operation_api::info;
use openapi::apis::sentiment_api::predict;
use openapi::models::{
    AnswerOrProblem, InferBody, InferInput, Label, ManyTexts, OnError, OneText, PredictAnswer, PredictRequest,
};

const TEXT: &str = "A gripping, beautifully shot film.";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let base_path = std::env::args().nth(1).expect("URL");
    let server = Configuration { base_path, ..Configuration::new() };
    let one = |text: OneText| PredictRequest::OneText(Box::new(text));
    let many = |texts: ManyTexts| PredictRequest::ManyTexts(Box::new(texts));

    let answer = predict(&server, one(OneText::new(TEXT.into()))).await.unwrap();
    let PredictAnswer::Answer(answer) = answer else { panic!("{answer:?}") };
    assert_eq!(answer.label, Label::Positive);
    assert!(answer.score > 0.5 && answer.words.is_none(), "{answer:?}");
    let explained = OneText { explain: Some(true), sentences: Some(true), ..OneText::new(TEXT.into()) };
    let PredictAnswer::Answer(answer) = predict(&server, one(explained)).await.unwrap() else {
        panic!("one text")
    };
    assert_eq!((answer.words.unwrap().len(), answer.sentences.unwrap().len()), (5, 1));

    let texts = vec![TEXT.to_string(), "...".into(), "Dull.".into()];
    let answers = predict(&server, many(ManyTexts::new(vec![TEXT.into(), "Dull.".into()]))).await.unwrap();
    let PredictAnswer::Answers(answers) = answers else { panic!("{answers:?}") };
    assert_eq!((answers.predictions.len(), answers.failed), (2, None));
    let reported = ManyTexts { on_error: Some(OnError::Report), ..ManyTexts::new(texts.clone()) };
    let reported = predict(&server, many(reported)).await.unwrap();
    let PredictAnswer::Answers(reported) = reported else { panic!("{reported:?}") };
    assert_eq!(reported.failed, Some(1));
    let AnswerOrProblem::ItemProblem(problem) = &reported.predictions[1] else { panic!("{reported:?}") };
    assert_eq!(problem.status, 422);

    let unknown = OneText { model: Some("nobody".into()), ..OneText::new(TEXT.into()) };
    match predict(&server, one(unknown)).await {
        Err(Error::ResponseError(refused)) => {
            assert_eq!(refused.status.as_u16(), 404);
            assert!(refused.content.contains("no model of that name"), "{}", refused.content);
        }
        other => panic!("{other:?}"),
    }
    let facts = info(&server).await.unwrap();
    assert!(facts.models[0].config["vocab_size"].as_u64() > Some(0), "{facts:?}");
    let tensor = InferInput {
        data: Some(vec![TEXT.into()]),
        ..InferInput::new("BYTES".into(), "text".into(), vec![1])
    };
    let outputs = v2_infer(&server, &facts.model, InferBody::new(vec![tensor])).await.unwrap().outputs;
    assert_eq!(outputs[0].data.as_ref().unwrap()[0], "positive");
    println!("the Rust client answers");
}
