"""Pictures for training, token ids and positions. Skipped, with the reason, where Pillow or torch is missing."""
import json
import random

import pytest

numpy = pytest.importorskip("numpy", reason="training needs NumPy")
pytest.importorskip("PIL", reason="training needs Pillow")
tokenizers = pytest.importorskip("tokenizers", reason="training needs tokenizers")

from PIL import Image  # noqa: E402

import fast_picture  # noqa: E402
import picture  # noqa: E402
import settings  # noqa: E402
import tasks  # noqa: E402
import tokenizer  # noqa: E402
import world as world_lib  # noqa: E402


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    pytest.importorskip("torch", reason="batches are tensors")
    import batches
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.write(folder)
    return batches.Encoder(folder)


def test_both_ways_of_drawing_agree_within_the_noise():
    for seed in range(4):
        world = world_lib.make_world(seed)
        width, height, pixels = picture.draw(world)
        slow = numpy.frombuffer(pixels, numpy.uint8).reshape(height, width, 3).astype(int)
        assert abs(slow - fast_picture.draw(world)).mean() < 1


def test_the_tokenizer_files_agree_and_round_trip(tmp_path):
    tokenizer.write(tmp_path)
    loaded = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    vocab = json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8"))
    assert len(vocab) == tokenizer.NUM_BPE and loaded.token_to_id("<|im_end|>") == tokenizer.NUM_BPE + 2
    rng = random.Random(2)
    for lang in ("en", "zh"):
        text = tasks.one_shot(400, lang, rng, world_lib.make_world(1)).answer + " 1,250 naïve 𝄞"
        assert loaded.decode(loaded.encode(text).ids) == text
    assert [loaded.decode([i]) for i in loaded.encode("1250").ids] == list("1250")


def test_positions_patches_and_windows_are_those_of_transformers(encoder):
    torch = pytest.importorskip("torch", reason="compares with transformers")
    transformers = pytest.importorskip("transformers", reason="compares with transformers")
    from transformers import vision_utils
    import batches
    config = settings.config()
    world = world_lib.make_world(1)
    image = fast_picture.draw(world)
    processor = transformers.models.qwen2_vl.image_processing_pil_qwen2_vl.Qwen2VLImageProcessorPil(
        min_pixels=settings.MIN_PIXELS, max_pixels=settings.MAX_PIXELS)
    theirs = processor(images=Image.fromarray(image), return_tensors="pt")
    cells, grid = batches.patches(image)
    assert theirs.image_grid_thw.tolist() == [list(grid)]
    assert torch.allclose(theirs.pixel_values, batches.pixel_values(torch.from_numpy(cells)), atol=1e-6)

    grids = [grid, (1, 14, 14), (1, 6, 28), (1, 12, 16)]
    layout, vision = batches.layout(grids), config["vision_config"]
    index, starts = vision_utils.get_vision_window_index(torch.tensor(grids), 2, vision["window_size"], 14)
    assert torch.equal(layout["position_ids"], vision_utils.get_vision_position_ids(torch.tensor(grids), 2))
    assert torch.equal(layout["window_index"], index) and torch.equal(layout["cu_window_seqlens"], starts)

    config["num_hidden_layers"] = vision["depth"] = 1
    model = transformers.Qwen2_5_VLForConditionalGeneration(transformers.Qwen2_5_VLConfig(**config))
    batch = batches.collate([encoder.encode(tasks.describe(world, "en", random.Random(1)))])
    pictures = batch["ids"] == config["image_token_id"]
    expected, _ = model.model.get_rope_index(batch["ids"], mm_token_type_ids=pictures.int(), image_grid_thw=batch["grid_thw"])
    assert torch.equal(expected, batch["positions"]) and pictures.sum() == len(batch["pixels"]) // 4


def test_a_gap_moves_the_section_to_write_and_nothing_before_it(encoder):
    example = tasks.write(3000, 3, "en", random.Random(3), max_sections_so_far=1)
    near, far = encoder.encode(example), encoder.encode(example, gap=5000)
    assert near.ids == far.ids
    moved = (far.positions - near.positions)[0]
    first = int(numpy.argmax(moved > 0))
    assert set(moved[:first]) == {0} and set(moved[first:]) == {5000}
    assert encoder.decode(near.ids[first:]).lstrip().startswith("Now write this section")


def test_a_part_of_a_text_stands_where_the_whole_text_has_it(encoder):
    example = tasks.one_shot(1000, "en", random.Random(4))
    whole, end = encoder.encode(example), encoder.encode(example, (17, 20))
    assert whole.ids[-150:] == end.ids[-150:] and whole.weights[-100:] == end.weights[-100:]
    assert abs(whole.positions[0, -1] - end.positions[0, -1]) < 200
    first_number = encoder.decode([i for i, w in zip(end.ids, end.weights) if w > 0]).lstrip()[:8]
    assert first_number == "(19/20) "


def test_the_right_answer_to_every_question_stands_in_the_description(encoder):
    for seed in range(40):
        world = world_lib.make_world(seed)
        for lang, questions in (("en", range(6)), ("zh", range(6, 12))):
            item = encoder.encode(tasks.describe(world, lang, random.Random(seed)))
            for cell in item.seen:
                for question in questions:
                    if cell[question] >= 0:
                        assert encoder.questions[question][cell[question]] in item.ids


def test_every_group_is_named_by_an_image_token_of_its_third():
    pytest.importorskip("torch", reason="batches are tensors")
    import batches
    for seed in range(200):
        world = world_lib.make_world(seed)
        rows, columns = 4, 5
        cells = batches.objects_in_cells(world, (1, 2 * rows, 2 * columns))
        assert len(cells) == rows * columns
        for group in world.groups:
            third = world_lib.PLACES.index(group.place)
            own = [(i % columns + .5) / columns for i, found in enumerate(cells) if found == group]
            assert own and all(abs(x - (third + .5) / 3) < 1 / 3 for x in own)


@pytest.mark.parametrize("shape", [(3, 64, 256), (2, 96, 192), (1, 640, 256)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape):
    torch = pytest.importorskip("torch", reason="trains with torch")
    import muon
    torch.manual_seed(1)
    steps = muon.orthogonalised(torch.randn(shape) * 1e-3)
    assert steps.shape == torch.Size(shape)
    values = torch.linalg.svdvals(steps)
    assert values.min() > .3 and values.max() < 1.3
