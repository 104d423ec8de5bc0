"""Score finished runs on the crops they were trained on, to tell what was learnt from how it carries over.

    python benchmarks/camvid_crops.py PATH/TO/CamVid TEACHER_RUN RUN_FOLDER...

Prints for each run, on the first 30 batches of seed 0: mIoU, cross-entropy, and the KL divergence from the teacher.
"""

import sys
from itertools import islice
from pathlib import Path

import torch

from fakd.analysis.runs import read_run
from fakd.data import get_dataset
from fakd.data.datamodule import SegmentationData
from fakd.evaluation import confusion_matrix, scores_from_confusion, to_float_images
from fakd.functional import cross_entropy, pixel_kd, resize_logits
from fakd.models import load_model

root, folders = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
spec = get_dataset("camvid")
config = read_run(folders[-1]).config
data = SegmentationData(spec, root, tuple(config["base_size"]), tuple(config["crop_size"]), config["batch_size"])
models = {folder: load_model(folder)[0] for folder in folders}
counts = {folder: confusion_matrix(spec.num_classes) for folder in folders}
losses = {folder: torch.zeros(2) for folder in folders}
batches = 30
with torch.no_grad():
    for batch in islice(data.train_dataloader(), batches):
        images, labels = to_float_images(batch.image), batch.label.long()
        taught = models[folders[0]](images).logits
        for folder, model in models.items():
            logits = model(images).logits
            counts[folder].update(resize_logits(logits, labels.shape[-2:]).argmax(1), labels)
            divergence = pixel_kd(logits, resize_logits(taught, logits.shape[-2:]))
            losses[folder] += torch.stack([cross_entropy(logits, labels), divergence]) / batches
for folder in folders:
    scores = scores_from_confusion(counts[folder].compute(), spec.classes)
    ce, kl = losses[folder].tolist()
    print(f"{folder.name}: mIoU {scores.mIoU:.2f}  cross-entropy {ce:.3f}  KL from the teacher {kl:.3f}")
