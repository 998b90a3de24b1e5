"""Measures of what was learned."""

from splatlearn.evaluation.comparison import Comparison, compare_runs, read_run
from splatlearn.evaluation.dense_suite import evaluate_segmentation
from splatlearn.evaluation.diagnostics import alignment, effective_rank, uniformity
from splatlearn.evaluation.embedders import EncoderFeatures, PixelFeatures, random_twin
from splatlearn.evaluation.feature_cache import FeatureStore
from splatlearn.evaluation.features import Extracted, Extraction, Features, extract
from splatlearn.evaluation.few_shot import few_shot_draw
from splatlearn.evaluation.knn import knn_scores
from splatlearn.evaluation.lars import LARS
from splatlearn.evaluation.linear import LarsRecipe, lars_scores, logistic_scores
from splatlearn.evaluation.naive_bayes import diagonal_scores, shared_scores
from splatlearn.evaluation.options import EvaluationOptions
from splatlearn.evaluation.reconstruction import evaluating, masked_psnr, mean_of_visible, psnr, shown_image
from splatlearn.evaluation.results import Evaluation, Score, Subject, read_evaluations, save_evaluation
from splatlearn.evaluation.suite import evaluate

__all__ = [
    "LARS",
    "Comparison",
    "EncoderFeatures",
    "Evaluation",
    "EvaluationOptions",
    "Extracted",
    "Extraction",
    "FeatureStore",
    "Features",
    "LarsRecipe",
    "PixelFeatures",
    "Score",
    "Subject",
    "alignment",
    "compare_runs",
    "diagonal_scores",
    "effective_rank",
    "evaluate",
    "evaluate_segmentation",
    "evaluating",
    "extract",
    "few_shot_draw",
    "knn_scores",
    "lars_scores",
    "logistic_scores",
    "masked_psnr",
    "mean_of_visible",
    "psnr",
    "random_twin",
    "read_evaluations",
    "read_run",
    "save_evaluation",
    "shared_scores",
    "shown_image",
    "uniformity",
]
