"""The whole method, from rows to an evaluated adapter, in the order in which it happens.

    python examples/one_run.py                     on the embedded model, half a minute on two cores
    python examples/one_run.py some/model/folder   on another one

A teacher, the frozen model with demonstrations, answers each training question and is recorded. A student, the same
model without them, learns to have the same activations (act). Both then answer questions that neither has seen.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ia2.config import EMBEDDED_MODEL, ModelConfig, TrainConfig
from ia2.methods import ACT
from ia2.models.adapters import peft_config, saved_adapter
from ia2.models.generation import GenerationConfig, generate
from ia2.models.hooked_model import HookedModel, Model
from ia2.models.loading import load_model
from ia2.models.stacked_lora import trainable_adapters
from ia2.prompts.prompt import Prompt, prompts_after_shared
from ia2.prompts.splits import SplitSpec, draw_split
from ia2.tasks import task
from ia2.tasks.task_spec import Example
from ia2.training.dataset import from_targets
from ia2.training.targets import collect
from ia2.training.trainer import TrainingRun, train_in_lockstep


def main(model_id: str, num_examples: int = 8, num_epochs: int = 20) -> dict[str, float]:
    """Train one adapter and return the accuracies of the base model, the teacher and the student."""
    # Rows become questions and answers: "Input: France\nOutput:" and " Paris".
    capitals = task("capitals")
    rows = capitals.load()
    pool, unseen = (
        [Example(i, capitals.spec.question(row), capitals.spec.answer(row)) for i, row in enumerate(part)]
        for part in (rows.train, rows.validation)
    )
    split = draw_split(pool, SplitSpec(num_examples, run_idx=0))

    # The teacher answers every training and dev question after the other examples, and is recorded while it does.
    lm = load_model(ModelConfig(model_id=model_id))
    tokenizer, teacher = lm.prompt_tokenizer(), HookedModel(lm.model)
    generation = GenerationConfig(capitals.spec.num_generated_tokens or 1, lm.stopper("separator", chat=False))
    shown = [*split.train, *split.dev]
    targets = collect(teacher, [tokenizer.prompt(one) for one in shown], generation, {"tokens", "activations"})

    # The student is asked the questions alone; each response is fed after its question, and the activations matched.
    asked = [tokenizer.prompt(Prompt((), one.query)) for one in shown]
    dataset = from_targets(asked, targets)
    train_dataset = dataset.part(0, len(split.train))
    eval_dataset = dataset.part(len(split.train), len(dataset))

    def accuracy(model: Model, prompts: Sequence[Prompt]) -> float:
        ids = [tokenizer.prompt(prompt) for prompt in prompts]
        texts = [tokenizer.text(response).strip() for response in generate(HookedModel(model), ids, generation)]
        right = [text == prompt.query.answer.strip() for text, prompt in zip(texts, prompts, strict=True)]
        return 100 * sum(right) / len(right)

    config = TrainConfig(training_method="act", model_id=model_id, lr=1e-3, num_train_epochs=num_epochs)
    with trainable_adapters(lm.model, [peft_config(lm.model, config)], [config.run_idx]) as adapters:
        run = TrainingRun(config, ACT, train_dataset, eval_dataset, adapters.parameters[0])
        for ended in train_in_lockstep([run], adapters):
            print(ended.finish())
        with TemporaryDirectory() as folder:
            adapters.save(0, Path(folder), model_id)  # an ordinary PEFT folder
            with saved_adapter(lm.model, Path(folder)) as student:
                act = accuracy(student, [Prompt((), one) for one in unseen])
    base = accuracy(lm.model, [Prompt((), one) for one in unseen])
    few_shot = accuracy(lm.model, prompts_after_shared(unseen, split.train_examples, num_examples, run_idx=0))
    return {"base": base, "teacher": few_shot, "act": act}


if __name__ == "__main__":
    print(main(sys.argv[1] if sys.argv[1:] else EMBEDDED_MODEL))
