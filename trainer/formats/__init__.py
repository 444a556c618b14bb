"""Labels of other tools as dataset folders, and back: COCO, CVAT, Label Studio, LabelMe, PASCAL VOC."""
